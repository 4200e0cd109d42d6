"""What several tests of `deploy/` start from."""

import pytest

from tests.support.image import Image, build_image


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The files of the image, which are those of an installation in /opt/quota-service too."""
    return build_image(tmp_path_factory.mktemp("image"))
