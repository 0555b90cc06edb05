"""The progress of a call of `make reproduce`: how many of its jobs are done, and how long the others will take."""

import re
import time

# Seconds of a job on one idle core, mean over the papers; `released` with scores that are kept. They weigh jobs against each
# other; once some are done, their pace counts.
SECONDS = {
    "smoke": {"train": 25, "trainings": 10, "ablate": 25, "render": 25, "explore": 10, "summary": 10, "report": 10},
    "quick": {"train": 50, "trainings": 80, "ablate": 90, "render": 45, "summary": 10, "report": 10},
    "released": {"train": 60, "ablate": 40, "render": 60, "explore": 20, "summary": 20, "report": 20},
}
STATS = re.compile(r"^Job stats:\njob +count\n[- ]+\n((?:\S+ +\d+\n)+)", re.MULTILINE)
FINISHED = re.compile(r"^Finished jobid: \d+ \(Rule: (\w+)\)\n(\d+) of (\d+) steps", re.MULTILINE)
BAR = 24  # characters


def duration(seconds: float) -> str:
    """Return a duration as text: "40 s", "7 min" or "3 h"."""
    if seconds < 90:
        return f"{max(round(seconds, -1), 10):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


class Progress:
    """Lines on the progress of a profile's jobs, from Snakemake's log. at_once: how many jobs run at a time."""

    def __init__(self, profile: str, at_once: int):
        self.seconds, self.at_once = SECONDS.get(profile, {}), at_once
        self.begin, self.jobs, self.total, self.n_finished = time.monotonic(), {}, 0.0, 0

    def lines(self, log: str) -> list[str]:
        """Return what is new since the last call: the plan, then a line for each finished job."""
        lines = []
        if not self.jobs and (stats := STATS.search(log)):
            counts = {rule: int(count) for rule, count in map(str.split, stats[1].splitlines())}
            self.jobs = {rule: count for rule, count in counts.items() if rule not in ("all", "total")}
            self.begin, self.total = time.monotonic(), self._estimate(self.jobs)
            about = f", about {duration(self.total)} on idle cores" if self.total else ""
            n_jobs = sum(self.jobs.values())
            lines.append(f"  {n_jobs} job{'s' if n_jobs > 1 else ''}{about}")
        finished = FINISHED.findall(log)
        for rule, done, total in finished[self.n_finished :]:
            if rule in self.jobs:
                self.jobs[rule] -= 1
                lines.append(self._line(int(done), int(total) - 1))
        self.n_finished = len(finished)
        return lines

    def _estimate(self, jobs: dict[str, int]) -> float:
        """Return the seconds of jobs on idle cores; 0 where the profile's jobs take as long as the machine decides."""
        return sum(self.seconds.get(rule, 0) * count for rule, count in jobs.items()) / self.at_once

    def _line(self, done: int, total: int) -> str:
        bar = ("#" * round(BAR * done / total)).ljust(BAR, "-")
        line = f"  {bar}  {done} of {total} job{'s' if total > 1 else ''}"
        remaining = self._estimate(self.jobs)
        return line + (f", about {duration(remaining * self._pace(remaining))} left" if remaining else "")

    def _pace(self, remaining: float) -> float:
        """Return how many times longer than on idle cores the finished jobs took."""
        expected = self.total - remaining
        return (time.monotonic() - self.begin) / expected if expected > 0 else 1.0
