"""The contract on a real account, for whoever has one: it costs a few thousand requests.

    DATAVER_AZURE_TEST_URL=az://CONTAINER/PATH pytest tests/contract/test_azure_account.py

The login is the environment's, as for any use. What is made below PATH is removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from dataver.store import Store, open_store
from dataver.testing.store_contract import SharedStoreContract

URL = os.environ.get("DATAVER_AZURE_TEST_URL", "")
LOGIN = {name: value for name, value in os.environ.items() if name.startswith("AZURE_")}


if URL:

    class TestAzureAccount(SharedStoreContract):
        @pytest.fixture
        def store(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
            for name, value in LOGIN.items():
                monkeypatch.setenv(name, value)
            store = open_store(f"{URL.rstrip('/')}/{uuid4().hex}")
            yield store
            for info in store.list(""):
                store.delete(info.key)
