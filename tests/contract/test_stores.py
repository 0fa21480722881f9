"""Every store of ours, and the wrappers, against the one contract."""

from __future__ import annotations

import pickle
from pathlib import Path
from uuid import uuid4

import pytest

from dataver.store import Store, open_store
from dataver.store.local import LocalStore
from dataver.store.memory import MemoryStore
from dataver.testing import bucket
from dataver.testing.store_contract import SharedStoreContract, StoreContract
from dataver.testing.stores import CountingStore, FaultyStore, LatencyStore, Pace

bucket.register()


class TestLocal(SharedStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "repository")


class TestOpenedByPath(SharedStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(tmp_path / "not" / "there" / "yet")


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return open_store(f"memory://{uuid4()}")


class TestFsspec(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(f"bucket://{tmp_path}/repository")


class TestAzure(SharedStoreContract):
    @pytest.fixture
    def store(self, azure: str) -> Store:
        return open_store(azure)


class TestS3(StoreContract):
    """A service that speaks S3's language, through the store that takes any file system."""

    @pytest.fixture
    def store(self, s3: str) -> Store:
        return open_store(s3)


class TestTools(StoreContract):
    """The wrappers of the test tools, one upon the other, change nothing unless told to."""

    @pytest.fixture
    def store(self) -> Store:
        faultless = FaultyStore(MemoryStore(str(uuid4())), {})
        return LatencyStore(CountingStore(faultless), Pace(latency_s=0.0001))

    def test_a_pickled_store_is_the_same_store(self, store: Store) -> None:
        with pytest.raises(
            (TypeError, pickle.PicklingError), match="pickle"
        ):  # they count and wait in one process
            pickle.dumps(store)
