"""What several tests of `deploy/` start from."""

from collections.abc import Iterator

import asyncpg
import pytest

from tests.support.image import Image, build_image
from tests.support.shipped_stores import ShippedPostgres, shipped_postgres


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The files of the image, which are those of an installation in /opt/quota-service too."""
    return build_image(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def postgres() -> Iterator[ShippedPostgres]:
    with shipped_postgres() as cluster, cluster.serving():
        yield cluster


@pytest.fixture
async def empty(postgres: ShippedPostgres) -> ShippedPostgres:
    """The cluster with an empty database."""
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    return postgres
