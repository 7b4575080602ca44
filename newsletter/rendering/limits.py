"""A sandbox that counts: a template can neither reach what it is not given, nor take more than a mail ever needs.

This stops what is cheap to write and dear to run while it runs, wherever it does. What slips through is found by
``trial``, which renders an operator's templates in a process of its own before the program takes them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_OUTPUT = 2**20  # characters of a part: a full mail has 80 KiB of HTML, the longest page some 100
MAX_STEPS = 100_000  # turns of loops and calls in one rendering: fifty papers with all their links take 2,000
MAX_NUMBER = 2**20  # the longest text or list that is made by multiplying, padding or counting
_MAX_BITS = 4_096  # of a whole number
_BUDGET: ContextVar[list[int] | None] = ContextVar("budget", default=None)


class TooMuchError(SecurityError):
    """A template wants more than any mail needs.

    :ivar filename: whose output it is, where no line of it is to blame.
    """

    filename: str | None = None


class _Counting(CodeGenerator):
    """Has every loop counted."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802  Jinja's name
        for loop in list(node.find_all(nodes.For)):
            counted = nodes.Filter(loop.iter, "counted", [], [], None, None)
            loop.iter = counted.set_lineno(loop.lineno).set_environment(self.environment)
        super().visit_Template(node, frame)


class _Counted(jinja2.Template):
    """A template with a budget for each rendering."""

    def render(self, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401  templates take any value
        token = _BUDGET.set([MAX_STEPS])
        try:
            return super().render(*args, **kwargs)
        except TooMuchError as exc:
            exc.filename = self.filename
            raise
        finally:
            _BUDGET.reset(token)


class Sandbox(ImmutableSandboxedEnvironment):
    """What reads templates that may be an operator's."""

    code_generator_class = _Counting
    template_class = _Counted
    # Neither are these worked out while a template is only compiled.
    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  Jinja's own
        super().__init__(**options)
        self.filters |= {name: _measured(each) for name, each in self.filters.items()} | {"counted": _counted}
        self.globals["range"] = _range
        del self.globals["lipsum"]  # as many words as one asks for, and no mail needs any

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call what a template calls, and count it."""
        _step()
        if isinstance(getattr(obj, "__self__", None), str) and getattr(obj, "__name__", "") not in {"format", "join"}:
            _measure(args)
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Work out what is small enough."""
        if _is_large(operator, left, right):
            raise TooMuchError(f"{operator} would make something larger than any mail needs")
        return super().call_binop(context, operator, left, right)

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Join what a template puts out.

        :raises TooMuchError: it is more than `MAX_OUTPUT`.
        """
        found, size = [], 0
        for each in pieces:
            size += len(each)
            if size > MAX_OUTPUT:
                raise TooMuchError(f"it makes more than {MAX_OUTPUT:,} characters")
            found.append(each)
        return "".join(found)


def _step() -> None:
    budget = _BUDGET.get()
    if budget is not None:
        budget[0] -= 1
        if budget[0] < 0:
            raise TooMuchError(f"its loops and calls take more than {MAX_STEPS:,} steps")


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for each in values:
        _step()
        yield each


def _range(*args: int) -> range:
    found = range(*args)
    if len(found) > MAX_STEPS:
        raise TooMuchError(f"a range of more than {MAX_STEPS:,} numbers")
    return found


def _measured(filter_: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that refuses widths and counts beyond measure; how large the value itself is does not matter."""
    first = 2 if hasattr(filter_, "jinja_pass_arg") else 1

    @wraps(filter_)
    def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        _measure(args[first:])
        _measure(kwargs.values())
        return filter_(*args, **kwargs)

    return run


def _measure(numbers: Iterable[Any]) -> None:
    if any(isinstance(each, int) and abs(each) > MAX_NUMBER for each in numbers):
        raise TooMuchError(f"a number above {MAX_NUMBER:,} where a width or a count belongs")


def _is_large(operator: str, left: Any, right: Any) -> bool:  # noqa: ANN401
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return bits > _MAX_BITS
    sizes = [len(each) if hasattr(each, "__len__") else each for each in (left, right)]
    if not all(isinstance(each, int) for each in sizes):
        return False
    return (sizes[0] + sizes[1] if operator == "+" else sizes[0] * sizes[1]) > MAX_NUMBER
