"""Checks with names: one line for each, a summary, and an exit code."""

import contextlib
import time
import traceback


class StoryOver(Exception):
    """What comes next needs what failed."""


class Checks:
    """Counts checks and prints each."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.prefix = ""

    @contextlib.contextmanager
    def __call__(self, name: str):
        """A check that passes unless its block raises; the story goes on either way."""
        try:
            yield
        except Exception as error:  # noqa: BLE001: whatever it is, it is the finding
            self.failed += 1
            print(f"FAILED {self.prefix}{name}: {why(error)}", flush=True)
        else:
            self.passed += 1
            print(f"ok {self.prefix}{name}", flush=True)

    @contextlib.contextmanager
    def must(self, name: str):
        """A check without which the rest of the story makes no sense."""
        failed = self.failed
        with self(name):
            yield
        if self.failed > failed:
            raise StoryOver(name)

    def story(self, tell, *args):
        """Tells a story to its end, or as far as it goes."""
        started = time.monotonic()
        try:
            tell(*args)
        except StoryOver:
            pass
        except Exception as error:  # noqa: BLE001: outside of any check
            self.failed += 1
            print(f"FAILED {self.prefix}{tell.__name__}: {why(error)}", flush=True)
        print(f"   {tell.__name__} took {time.monotonic() - started:.1f} s", flush=True)


def why(error: Exception) -> str:
    """One line: the error, and the line of the suite that it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    own = [frame for frame in frames if frame.name not in ("__call__", "must")]
    place = f" (line {own[-1].lineno}, {own[-1].line})" if own else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__} {text}{place}"


def same(got, wanted, what="it"):
    """Raises unless they are equal, and says both."""
    if got != wanted:
        raise AssertionError(f"{what} is {got!r}, not {wanted!r}")


@contextlib.contextmanager
def refused(errors, status: int):
    """The block must be refused with this status, and the SDK must understand the error body."""
    try:
        yield
    except errors as error:
        same(error.status_code, status, "the status")
        if not (error.error and error.error.code and error.error.message):
            raise AssertionError(f"the SDK finds no code and message in {error}") from error
    else:
        raise AssertionError(f"it was done, not refused with {status}")
