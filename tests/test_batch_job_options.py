"""What we tell each queueing system of a job: by the scripts that dask-jobqueue makes of it."""

import dask_jobqueue
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.batch.cluster.job_cluster import format_walltime, job_options
from gigaslide.storage import SettingsError

WANTED = {
    "cores": 2,
    "memory_gb": 3.0,
    "walltime": "1-02:30:40",
    "interface": "lo",
    "job_prologue": ("module load q",),
}
EXPECTED = {
    "slurm": {
        "#SBATCH -J gigaslide",
        "#SBATCH -p long",
        "#SBATCH -A lab",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=6G",
        "#SBATCH -t 1-02:30:40",
        "#SBATCH -e LOGS/gigaslide-%J.err",
        "#SBATCH -o LOGS/gigaslide-%J.out",
    },
    "pbs": {
        "#PBS -q long",
        "#PBS -A lab",
        "#PBS -l select=1:ncpus=2:mem=5723MB",  # of 2**20 bytes
        "#PBS -l walltime=26:30:40",
        "#PBS -e LOGS/",
        "#PBS -o LOGS/",
    },
    "lsf": {
        "#BSUB -q long",
        '#BSUB -P "lab"',
        "#BSUB -n 2",
        '#BSUB -R "span[hosts=1]"',
        "#BSUB -M 6000000",
        "#BSUB -W 26:31",
        "#BSUB -o LOGS/w-%J.out",
    },
    "sge": {
        "#$ -q long",
        "#$ -P lab",
        "#$ -l h_rt=26:30:40",
        "#$ -e LOGS/",
        "#$ -o LOGS/",
        "#$ -j y",
    },
    "htcondor": {
        "MY.DaskWorkerCores = 2",
        "MY.DaskWorkerMemory = 6000000000",
        "LogDirectory = LOGS",
    },
}
MORE = {
    "slurm": "--qos=high",
    "pbs": "-W group_list=x",
    "lsf": "-U r",
    "sge": "-pe smp 2",
    "htcondor": "+MaxRuntime = 9",
}


def script(settings: BatchSettings, logs) -> str:
    kind, job = job_options(settings, environment={"A_DICT": "{'x': 1}"}, logs=logs)
    job_class = getattr(dask_jobqueue, kind).job_cls
    units = (
        {"lsf_units": "kb"} if settings.cluster == "lsf" else {}
    )  # else it asks the system's own files
    return job_class(scheduler="tls://h:1", name="w", **job, **units).job_script()


@pytest.mark.parametrize("cluster", EXPECTED)
def test_jobs_ask_for_queue_cores_memory_time_and_logs(cluster, tmp_path):
    names = {} if cluster == "htcondor" else {"queue": "long", "account": "lab"}
    settings = BatchSettings(cluster=cluster, job_directives=(MORE[cluster],), **names, **WANTED)
    made = script(settings, tmp_path)
    lines = {line.replace(str(tmp_path), "LOGS") for line in made.splitlines()}
    assert EXPECTED[cluster] <= lines
    assert any(line.endswith(MORE[cluster]) for line in lines)
    for words in (
        "--nworkers 2",
        "--nthreads 1",
        "--memory-limit 2.79GiB",
        "--interface lo",
        "module load q",
    ):
        assert words in made
    assert "A_DICT" in made


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"cluster": "sge", "cores": 8}, r"qconf -spl and add --job-directives='-pe NAME 8'"),
        ({"cluster": "htcondor", "queue": "long"}, "--queue.*htcondor.*--job-directives"),
        ({"cluster": "htcondor", "job_directives": ("notify",)}, "notify.*name = value"),
    ],
)
def test_what_a_system_does_not_know_is_refused_before_a_job_is_submitted(settings, facts):
    with pytest.raises(SettingsError, match=facts):
        job_options(BatchSettings(**settings), environment={}, logs=None)


@pytest.mark.parametrize(
    ("given", "slurm", "lsf"),
    [
        ("04:00", "04:00:00", "04:00"),
        ("2-00:30", "2-00:30:00", "48:30"),
        ("30:00:01", "1-06:00:01", "30:01"),
    ],
)
def test_walltime_means_hours_and_minutes_everywhere(given, slurm, lsf):
    written = {
        name: format_walltime(BatchSettings(cluster=name, walltime=given))
        for name in ("slurm", "lsf", "htcondor")
    }
    assert written == {"slurm": slurm, "lsf": lsf, "htcondor": ""}
