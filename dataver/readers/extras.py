"""Libraries that not everybody needs: each is an extra of the installation."""

from __future__ import annotations

from importlib import import_module

from dataver.errors import MissingExtraError


def need(name: str, purpose: str) -> None:
    """`MissingExtraError` where the module of an extra of the same name cannot be imported."""
    try:
        import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {name}, which cannot be imported ({error}); pip install 'dataver[{name}]'"
        ) from error
