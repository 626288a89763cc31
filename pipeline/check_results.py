"""What a check says: one line a person can act on, and the same for scripts."""

from dataclasses import asdict, dataclass
from typing import Literal

from pipeline.console import UserError

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class CheckResult:
    """check: its name, the same each time. message: what was found, one line. advice: what to do; empty where nothing is."""

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
    """A stage's own message, found early."""
    return problem(check, error.message, error.advice)


def listed(names: list[str], most: int = 5) -> str:
    """The names, the first few of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
