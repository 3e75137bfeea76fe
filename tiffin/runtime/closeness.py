"""Code that runs in every fork, laid close together.

Who calls a function writes to its code: a count of references, and what Python has learned of it.
In a fork each such write copies a page. Code lies where there was room when it was read, and that
of up to 512 bytes apart by its size, of which there are 32. Made anew, and none of it small, much
of it shares pages. What it takes the place of is kept: what forks make would lie where that lay, on
as many pages as before.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from types import CodeType, FunctionType, ModuleType

_LARGE = 528  # bytes of an object, from which on Python's own allocator does not have it


_replaced: list[CodeType] = []


def _example() -> None: ...


_FUNCTION: type[FunctionType] = type(_example)  # type: ignore[assignment]
_CODE = type(_example.__code__)
_NOTHING = _example.__code__.co_code[-2:]  # a return: nobody comes to one behind the last


def gather(run: Callable[[], object], owners: Iterable[type | ModuleType]) -> None:
    """Have the code that `run` runs made anew, and all of some modules and classes.

    Functions stay what they are; what Python has learned of them it has to learn again.
    """
    hot = dict.fromkeys([*_run_by(run), *(function.__code__ for function in _of(owners))])
    gc.collect()
    functions = _functions()
    for code in hot:
        for function in functions.get(code, ()):
            function.__code__ = _anew(code, hot)
    _replaced.extend(hot)


def _run_by(run: Callable[[], object]) -> list[CodeType]:
    found: list[CodeType] = []

    def called(frame: object, event: str, _argument: object) -> None:
        if event == "call":
            found.append(frame.f_code)  # type: ignore[attr-defined]

    sys.setprofile(called)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


def _of(owners: Iterable[type | ModuleType]) -> Iterator[FunctionType]:
    for owner in owners:
        home = owner.__module__ if isinstance(owner, type) else owner.__name__
        for each in vars(owner).values():
            function = each.__func__ if isinstance(each, staticmethod) else each
            if isinstance(function, _FUNCTION) and function.__module__ == home:
                yield function


def _functions() -> dict[CodeType, list[FunctionType]]:
    gc.unfreeze()
    found: dict[CodeType, list[FunctionType]] = {}
    for each in gc.get_objects():
        if type(each) is _FUNCTION:
            found.setdefault(each.__code__, []).append(each)
    gc.freeze()
    return found


def _anew(code: CodeType, hot: Collection[CodeType]) -> CodeType:
    """With the functions that are made in it, if they are hot as well: others cost pages."""
    constants = tuple(
        _anew(each, hot) if isinstance(each, _CODE) and each in hot else each
        for each in code.co_consts
    )
    missing = max(0, _LARGE - sys.getsizeof(code))
    filling = _NOTHING * (missing // len(_NOTHING) + 1) if missing else b""
    return code.replace(co_consts=constants, co_code=code.co_code + filling)
