"""Every form of every mail, as it would leave now."""

import os
from collections.abc import Mapping, Sequence

import pytest
from arrivals import Arrived, arrive
from dkim_keys import key_files

from newsletter.app import build_app
from newsletter.delivery.models import Mail
from newsletter.settings import PREFIX, Settings
from newsletter.specimens import specimens

Forms = Mapping[Mail, Sequence[Arrived]]


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Forms:
    """All forms of our mails, by mail; the clock is the machine's, since filters look at theirs."""
    folder = tmp_path_factory.mktemp("sender")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        settings = Settings(
            _env_file=None,
            database_url=f"sqlite:///{folder}/newsletter.db",
            outbox_dir=folder / "outbox",
            secret_key="a key for tests",
            base_url="https://news.example.org",
            postal_address="Daily Papers, 1 Example Street, 12345 Example",
            dkim_keys=key_files(folder, "rsa", "ed25519"),
        )
    app = build_app(settings)
    try:
        return {mail: [arrive(mail, each.title, each.message) for each in specimens(app, mail)] for mail in Mail}
    finally:
        app.close()


@pytest.fixture(scope="session")
def every_form(forms: Forms) -> list[Arrived]:
    """The same in one row."""
    return [each for mails in forms.values() for each in mails]
