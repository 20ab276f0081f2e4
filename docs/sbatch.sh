#!/bin/bash
# Run a gigaslide command in one Slurm job, on all cores of the job:
#
#   sbatch docs/sbatch.sh run cohort.csv out --mpp 0.5
#
# Options of sbatch before the script's name replace those below: sbatch --time=08:00:00 docs/sbatch.sh …
# If the job ends before the command has completed, submit it again: it continues from the blocks
# that are complete.
#
#SBATCH --job-name=gigaslide
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=1-00:00:00
#SBATCH --output=gigaslide-%j.log
# Slurm sends SIGTERM 60 seconds before the time limit; gigaslide then completes its current blocks
# and exits with status 143. "B:" sends it to this script only, not to the worker processes.
#SBATCH --signal=B:TERM@60
# Remove one "#" to use these:
##SBATCH --partition=long
##SBATCH --account=lab
##SBATCH --gres=gpu:1

# Make gigaslide available to the job. Examples:
#   module load python
#   source /path/to/environment/bin/activate

# "exec" replaces this shell by gigaslide, so that the signal reaches it. The number of workers and
# their memory follow from the cores and the memory of the job.
exec gigaslide "$@"
