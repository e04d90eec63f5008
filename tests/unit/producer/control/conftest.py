"""What the tests of control share."""

import fakeredis
import pytest

from contract.broker.ledger import Ledger
from contract.settings import Settings
from contract.storage import Storage
from producer.control.feed import Feeder
from producer.planning.submit import Dispatcher


@pytest.fixture
def feeder(
    fake_redis: fakeredis.FakeRedis,
    ledger: Ledger,
    storage: Storage,
    dispatcher: Dispatcher,
    settings: Settings,
) -> Feeder:
    """The feeder of a control process, while no worker is alive."""
    return Feeder(fake_redis, ledger, storage, dispatcher, settings, lambda: 0)
