"""Deploy, smoke and clean through a network and an AWS with faults, by seed: each ends well or with one clear error.

`python -m tests.proofs.faults [COUNT]`: so many seeds, 200 by default, at 20 percent faults a call. What ends with an error is
run again without faults, and must end as if there had been none.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.forks import Ended, Forks, count_argument, forking
from tests.fault_proxy import in_front_of

if TYPE_CHECKING:
    from tests.fault_proxy import Faults

REAL = {"TARGET": "aws", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
# What a step says when AWS refused or could not be asked: one message, with what to try.
CLEAR = re.compile(r"^[\w-]+: .+\n(  AWS said: .+\n)?(  try: .+\n)?\Z")


def main() -> None:
    """Run the seeds, and print what was met and how it ended."""
    count = count_argument(200)
    with tempfile.TemporaryDirectory() as folder, forking(Path(folder) / "project", SMOKE_TIMEOUT="60") as project:
        ended, met = prove(project, range(count))
    at_once = sum(each for how, each in ended.items() if how.endswith("well"))
    print(
        f"{count} seeds, {met} faults: {at_once} of {3 * count} commands ended well at once, the rest on the second run"
    )
    for how, number in ended.most_common():
        print(f"  {number:>5}  {how}")


def prove(project: Forks, seeds: range) -> tuple[Counter[str], int]:
    """Run each seed; how its commands ended the first time, and the number of faults that were met."""
    ended: Counter[str] = Counter()
    met = 0
    project.invoke("deploy").expect(0)
    deployed = project.state()
    project.invoke("clean").expect(0)
    with in_front_of(project.endpoint) as faults:
        for seed in seeds:
            faults.reseed(seed)
            try:
                ended.update(_run(project, faults, deployed))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, after {faults.met}: {error}") from error
            met += len(faults.met)
    return ended, met


def _run(project: Forks, faults: Faults, deployed: Any) -> list[str]:
    through: dict[str, Any] = {**REAL, "AWS_ENDPOINT_URL": faults.url}
    first = project.invoke("deploy", "--yes", **through)
    how = [_judge(project, first, "deploy")]
    assert project.state() == deployed, f"not as wanted after:\n{first.stdout}{first.stderr}"
    how.append(_judge(project, project.invoke("smoke", **through), "smoke"))
    how.append(_judge(project, project.invoke("clean", "--yes", **through), "clean"))
    assert project.holds_nothing(), "something is left"
    return how


def _judge(project: Forks, ended: Ended, command: str) -> str:
    """How the command ended; what failed is run again, without faults."""
    if ended.returncode == 0:
        return f"{command} well"
    assert ended.returncode == 1, f"exit code {ended.returncode}:\n{ended.stderr}"
    said = ended.stderr[ended.stderr.rindex(f"{_last_step(ended)}: ") :]
    assert CLEAR.match(said), f"not clear:\n{ended.stderr}"
    project.invoke(command).expect(0)
    return f"{command}: {' '.join(said.split())[:90]}"


def _last_step(ended: Ended) -> str:
    """The step that the message is about: what stands before its colon."""
    return [match[1] for match in re.finditer(r"^([\w-]+): ", ended.stderr, re.MULTILINE)][-1]


if __name__ == "__main__":
    main()
