#!/bin/bash
# Scheduler, client and workers inside one allocation, for sites that forbid long processes on the login node:
#   sbatch deploy/slurm/batch.sh meropenem_sepsis --out results/sepsis
# Task 0 schedules, task 1 is the client, the other four work. All must see this folder and your home.
#SBATCH --job-name=tdmx
#SBATCH --ntasks=6
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --time=01:00:00
set -euo pipefail
# module load python/3.12
# . "$HOME/tdmx/bin/activate"
srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" tdmx run "$@" --on batch
