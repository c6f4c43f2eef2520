/** A real sshd on loopback in a folder, with keys, port and configuration of its own; and an `ssh` that knows its host. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const sshd = "/usr/sbin/sshd";
const onPath = (name: string) =>
  (process.env.PATH ?? "")
    .split(delimiter)
    .map((path) => join(path, name))
    .find((path) => existsSync(path));

/** What is missing for it here. */
export const missingForSsh = (): string[] => [
  ...(existsSync(sshd) ? [] : ["sshd"]),
  ...["ssh", "ssh-keygen", "rsync"].filter((name) => !onPath(name)),
];

export interface Sshd {
  /** For PATH: its `ssh` reads the folder's configuration, in which the host is called `gpu`. */
  bin: string;
  /** Does nothing while it runs. */
  start(): Promise<void>;
  /** Ends it, and with it every connection. What was started over them goes on. */
  stop(): Promise<void>;
}

/** Starts it. @param dir an empty folder, absolute */
export async function startSshd(dir: string): Promise<Sshd> {
  const port = await freePort();
  for (const name of ["host", "user", "other"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(dir, `${name}_key`)]);
  execFileSync("cp", [join(dir, "user_key.pub"), join(dir, "authorized_keys")]);
  const host = execFileSync("cat", [join(dir, "host_key.pub")], { encoding: "utf8" });
  await writeFile(join(dir, "known_hosts"), `[127.0.0.1]:${port} ${host}`);
  await writeFile(
    join(dir, "sshd_config"),
    [
      ...[`ListenAddress 127.0.0.1:${port}`, `HostKey ${join(dir, "host_key")}`, `PidFile ${join(dir, "sshd.pid")}`],
      ...[
        `AuthorizedKeysFile ${join(dir, "authorized_keys")}`,
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
      ],
      "",
    ].join("\n"),
  );
  const entry = (name: string, key: string, at: number) =>
    `Host ${name}\n  HostName 127.0.0.1\n  Port ${at}\n  User ${userInfo().username}\n  IdentityFile ${join(dir, key)}\n` +
    `  IdentitiesOnly yes\n  UserKnownHostsFile ${join(dir, "known_hosts")}\n`;
  const closed = await freePort();
  await writeFile(
    join(dir, "ssh_config"),
    entry("gpu", "user_key", port) + entry("wrong-key", "other_key", port) + entry("down", "user_key", closed),
  );
  const bin = join(dir, "bin");
  await mkdir(bin);
  await writeFile(join(bin, "ssh"), `#!/bin/sh\nexec ${onPath("ssh")} -F ${join(dir, "ssh_config")} "$@"\n`);
  await chmod(join(bin, "ssh"), 0o755);
  // Where sshd runs as root it wants its folder; Debian's start script makes it.
  if (process.getuid?.() === 0) await mkdir("/run/sshd", { recursive: true });

  let daemon: ChildProcess | null = null;
  const start = async () => {
    if (daemon) return;
    daemon = spawn(sshd, ["-D", "-e", "-f", join(dir, "sshd_config")], { stdio: "ignore", detached: true });
    for (let i = 0; i < 300; i++) {
      try {
        execFileSync(join(bin, "ssh"), ["gpu", "true"], { stdio: "ignore" });
        return;
      } catch {
        await sleep(100);
      }
    }
    throw new Error("sshd does not come up");
  };
  const stop = async () => {
    const pid = daemon?.pid;
    daemon = null;
    if (!pid) return;
    const rows = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
    const connections = rows.map((row) => row.trim().split(/\s+/).map(Number)).filter(([, parent]) => parent === pid);
    for (const each of [pid, ...connections.map(([child]) => child!)]) {
      try {
        process.kill(each, "SIGKILL");
      } catch {
        // It has just ended.
      }
    }
  };
  await start();
  return { bin, start, stop };
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
