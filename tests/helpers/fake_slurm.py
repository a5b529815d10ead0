"""Commands of SLURM for one user, whose queue is a folder: a test decides what becomes of a job."""

from __future__ import annotations

from helpers.fake_commands import command

SBATCH = """
cd {folder}
echo "$(basename "$1")" >> submissions
if [ -e refusal ]; then cat refusal >&2; exit 1; fi
id=$(( $(cat count 2>/dev/null || echo 0) + 1 ))
echo $id > count
state="PENDING|Resources|5:00|5:00"
[ -e runs ] && state="RUNNING|None|4:00|5:00"
echo "$state" > $id.tmp && mv $id.tmp $id.job
cp "$1" $id.new && mv $id.new $id.sh  # from now on the test knows the job
if [ -e runs ]; then
    setsid sh -c "sh ./$id.sh; echo 'FAILED|NonZeroExitCode|0:00|5:00' > $id.job" \
        </dev/null >"$(cat runs)/$id.log" 2>&1 &
    echo $! > $id.pid
fi
echo "Submitted batch job $id"
"""

SQUEUE = """
cd {folder}
if [ -e silent ]; then echo "Unable to contact slurm controller" >&2; exit 1; fi
for job in *.job; do
    [ -e "$job" ] && echo "${{job%.job}}|$(cat "$job")"
done
exit 0
"""

SCANCEL = """
cd {folder}
echo "$@" >> scancel
if [ -e silent ]; then echo "Unable to contact slurm controller" >&2; exit 1; fi
for word in "$@"; do
    case $word in --name=*) jobs=*.job ;; *) jobs=$word.job ;; esac
    for job in $jobs; do
        [ -e "$job" ] && echo "CANCELLED|None|0:00|5:00" > tmp && mv tmp "$job"
        [ -e "${{job%.job}}.pid" ] && kill -- -$(cat "${{job%.job}}.pid") 2>/dev/null
    done
done
exit 0
"""


class FakeSlurm:
    """The commands, in a folder that the test puts first in the PATH.

    A job is pending when it is submitted. It does nothing: the test starts the workers that it
    would bring, and says in which state it is. After `run_jobs` scripts of jobs run at once.

    Parameters
    ----------
    bin_dir, folder : Path
        Where the commands are, and where the queue is.
    """

    def __init__(self, bin_dir, folder):
        self._folder = folder
        for name, text in [("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL)]:
            command(bin_dir, name, text.format(folder=f"'{folder}'"))

    @property
    def jobs(self):
        """The ids of all jobs that were submitted and taken, in order."""
        return sorted((path.stem for path in self._folder.glob("*.sh")), key=int)

    @property
    def submissions(self):
        """How often sbatch was called."""
        path = self._folder / "submissions"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def cancelled(self):
        """The arguments of each call of scancel, but for --quiet."""
        path = self._folder / "scancel"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.removeprefix("--quiet ") for line in lines]

    def state(self, job):
        """The state of a job; None if the queue has forgotten it."""
        path = self._folder / f"{job}.job"
        return path.read_text().partition("|")[0] if path.exists() else None

    def set_state(self, job, state, reason="None", left="4:00", limit="5:00"):
        """Say in which state a job is from now on, and how much of its walltime is left."""
        path = self._folder / f"{job}.job"
        path.with_suffix(".new").write_text(f"{state}|{reason}|{left}|{limit}\n")
        path.with_suffix(".new").replace(path)

    def run_jobs(self, log_dir):
        """Run the scripts of jobs from now on, on this machine; their output goes to a folder."""
        (self._folder / "runs").write_text(str(log_dir))

    def refuse(self, message):
        """Refuse jobs from now on."""
        (self._folder / "refusal").write_text(message)

    def accept(self):
        """Take jobs again."""
        (self._folder / "refusal").unlink()

    def be_silent(self, silent=True):
        """Have squeue and scancel fail, as with a controller that does not answer."""
        path = self._folder / "silent"
        path.touch() if silent else path.unlink()
