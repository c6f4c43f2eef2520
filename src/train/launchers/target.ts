/** Which launcher a target names. */
import { InputError } from "../../errors.js";
import type { Launcher } from "./launcher.js";
import { local } from "./local.js";
import { rayLauncher } from "./ray.js";
import { sky } from "./sky.js";
import { slurmLauncher } from "./slurm.js";
import { sshLauncher } from "./ssh.js";

/** For help texts. */
export const targets = "local, ssh:USER@HOST[:FOLDER], slurm, ray:ADDRESS[/FOLDER], sky";

/**
 * @param jobs how many there will be at the same time: a queue is looked at less often for each
 * @throws InputError for a target of no kind that is known, or an address that is none
 */
export function launcherOf(target: string, jobs = 1): Launcher {
  const [kind] = target.split(":", 1);
  const own = [local, slurmLauncher(1000 * Math.ceil(jobs / 4)), sky].find((launcher) => launcher.target === target);
  if (own) return own;
  if (kind === "ssh") return sshLauncher(target);
  if (kind === "ray") return rayLauncher(target);
  throw new InputError(`--on ${target} is unknown; it can be ${targets}, or openai, a fine-tuning service`);
}
