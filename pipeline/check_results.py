"""Results of checks: each is one line with advice for a person, and the same as a dictionary for scripts."""

from dataclasses import asdict, dataclass
from typing import Literal

from pipeline.console import UserError

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
      check: name of the check.
      status: a problem makes a run fail; a warning does not.
      message: one line.
      advice: what to do; empty if nothing needs to be done.
    """

    check: str
    status: Status
    message: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def text(self) -> str:
        """Two aligned columns and the message; the advice on a line of its own."""
        line = f"{self.status:<8} {self.check:<11} {self.message}"
        return f"{line}\n{'':<21}-> {self.advice}" if self.advice else line


def ok(check: str, message: str) -> CheckResult:
    return CheckResult(check, "ok", message)


def warning(check: str, message: str, advice: str = "") -> CheckResult:
    return CheckResult(check, "warning", message, advice)


def problem(check: str, message: str, advice: str = "") -> CheckResult:
    return CheckResult(check, "problem", message, advice)


def refused(check: str, error: UserError) -> CheckResult:
    """A problem with the message that the stage would end with."""
    return problem(check, error.message, error.advice)


def listed(names: list[str], most: int = 5) -> str:
    """The names; of many, the first few."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
