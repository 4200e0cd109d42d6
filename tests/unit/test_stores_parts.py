"""A use case takes the part of the stores that it needs, never all of them."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

from quota_service import registration, workers
from quota_service.registration.stores import ExamStores, Stores

PARTS = set(ExamStores.__subclasses__()) - {Stores} | {ExamStores}


def takers() -> Iterator[tuple[str, object]]:
    """Yield what is called `stores` by the functions and classes of use cases and workers."""
    for package in (registration, workers):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, each in vars(module).items():
                if getattr(each, "__module__", "") != module.__name__:
                    continue
                call = each.__init__ if inspect.isclass(each) else each
                if inspect.isfunction(call) and "stores" in inspect.signature(call).parameters:
                    yield (
                        f"{module.__name__}.{name}",
                        inspect.signature(call).parameters["stores"].annotation,
                    )


def test_no_use_case_takes_all_stores() -> None:
    taken = dict(takers())

    assert len(taken) > 50
    assert {name for name, part in taken.items() if part not in PARTS} == set()
