"""Which modules are changed, and which tests are asked about each: fast ones that are meant to guard it."""

from __future__ import annotations

import json
import sys

from dataver.values import dataclass

_TYPES = (sys.executable, "-m", "mypy", "--config-file=", "--ignore-missing-imports", "--output=json")
# Those come of the same function standing there many times.
_NO_FAULTS = ("no-redef", "has-type", "var-annotated", "misc")


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that are changed together, and the tests for them: those that tell most come first."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def settings(self) -> str:
        """The section of `pyproject.toml` by which mutmut knows it."""
        packages = sorted({module.removesuffix("/*.py") for module in self.modules})
        types = [*_TYPES, *(f"--disable-error-code={code}" for code in _NO_FAULTS), *packages]
        return (
            "[tool.mutmut]\n"
            'source_paths = ["dataver"]\n'
            f"only_mutate = {json.dumps(self.modules)}\n"
            # With the mutants' methods beside its own, a protocol is kept by no class.
            'do_not_mutate = ["dataver/gc/leftovers.py"]\n'
            f"type_check_command = {json.dumps(types)}\n"
            # What an error says is for people; that it is raised is for tests.
            "do_not_mutate_patterns = ['raise \\w+\\($', 'raise \\w+\\(f?\"']\n"
            "track_dependencies = false\n"
            "use_git_change_detection = false\n"
        )


GROUPS = {
    "gc": Group(
        ("dataver/gc/*.py", "dataver/relying.py"),
        (
            "tests/unit/test_retention.py",
            "tests/unit/test_gc_live.py",
            "tests/unit/test_gc_entries.py",
            "tests/unit/test_relying.py",
            "tests/integration/test_gc.py",
            "tests/integration/test_gc_reach.py",
            "tests/integration/test_gc_rules.py",
            "tests/cli/test_gc.py",
            "tests/stateful/test_gc_machine.py",
        ),
    ),
    "log": Group(
        ("dataver/log/*.py",),
        (
            "tests/unit/test_log.py",
            "tests/unit/test_state.py",
            "tests/unit/test_apply.py",
            "tests/unit/test_erased.py",
            *(
                f"tests/integration/test_remote_cache.py::test_{name}"
                for name in (
                    "the_second_time_only_the_log_is_asked",
                    "offline_sees_the_newest_entry_that_was_seen",
                    "offline_sees_what_was_committed_from_here",
                    "offline_the_first_and_the_newest_entry_are_known",
                    "offline_nothing_is_written",
                    "offline_on_a_machine_that_knows_nothing",
                    "a_repository_that_was_removed_or_rolled_back",
                )
            ),
            "tests/unit/test_refs.py",
            "tests/unit/test_format_unknown.py",
        ),
    ),
    "packs": Group(
        ("dataver/packs.py", "dataver/format/pack.py", "dataver/metadata_packs.py"),
        (
            "tests/unit/test_packs.py",
            "tests/unit/test_metadata_packs.py",
            "tests/unit/test_format_vectors.py",
            "tests/unit/test_format_unknown.py",
            "tests/property/test_salvage.py",
        ),
    ),
}
"""Quickest group first."""
