#!/usr/bin/env bash
# A Slurm cluster of one node inside a folder, to try `--on slurm` without a cluster: munged, slurmctld and slurmd, none
# of which outlives this script. Needs root and Debian's or Ubuntu's slurm-wlm and munge.
#
#   bash scripts/cluster/one-node-slurm.sh FOLDER &
#   export SLURM_CONF=FOLDER/slurm.conf            # then sbatch, squeue, scontrol … speak with it
set -euo pipefail

folder=$(mkdir -p "${1:?usage: one-node-slurm.sh FOLDER [CPUS]}" && cd "$1" && pwd)
cpus=${2:-4} # that Slurm gives out, whether or not the machine has as many
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" >/dev/null || { echo "$program is not installed: apt-get install slurm-wlm munge" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "slurmd starts jobs as their users: run this as root" >&2; exit 1; }

# Any two free ports; if one is taken before it is used, the log shows it.
read -r controller node < <(python3 -c '
import socket
taken = [socket.socket() for _ in range(2)]
for s in taken: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in taken))')

chmod 755 "$folder"
mkdir -p "$folder"/{munge,state,spool}
chmod 700 "$folder/munge"
[ -s "$folder/munge/key" ] || (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
cat >"$folder/slurm.conf" <<CONF
ClusterName=one-node
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmctldPort=$controller
SlurmdPort=$node
AuthType=auth/munge
# A job that is requeued waits until the credential of its last start has expired: 2 minutes by default.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SlurmdParameters=config_overrides
KillWait=5
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
CONF

started=()
stop() {
  trap - EXIT
  # Jobs would outlive slurmd.
  timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
  for _ in $(seq 30); do [ -z "$(timeout 5 squeue --noheader 2>/dev/null)" ] && break; sleep 0.5; done
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill "${started[i]}" 2>/dev/null && wait "${started[i]}" 2>/dev/null || true
  done
}
trap stop EXIT
trap 'exit 0' INT TERM

start() {
  local log="$folder/$1.log"
  shift
  "$@" >"$log" 2>&1 &
  started+=($!)
}
export SLURM_CONF="$folder/slurm.conf"
start munged munged --foreground --key-file="$folder/munge/key" --socket="$folder/munge.socket" \
  --pid-file="$folder/munge/pid" --seed-file="$folder/munge/seed" --log-file="$folder/munge/log"
for _ in $(seq 50); do [ -S "$folder/munge.socket" ] && break; sleep 0.2; done
start slurmctld slurmctld -D -i
start slurmd slurmd -D
for _ in $(seq 150); do
  if sinfo --noheader --states=idle --format=%t 2>/dev/null | grep -q idle; then
    echo "ready: export SLURM_CONF=$SLURM_CONF"
    wait -n "${started[@]}" || true
    break
  fi
  kill -0 "${started[@]}" 2>/dev/null || break
  sleep 0.2
done
echo "a daemon has ended or never came up; see the logs in $folder" >&2
exit 1
