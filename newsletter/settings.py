"""Settings: environment variables ``NEWSLETTER_…`` or ``.env``; read once, validated, frozen, passed down."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parseaddr
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from email_validator import EmailNotValidError, validate_email
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from newsletter.errors import SettingsError
from newsletter.rates import DomainRates, WarmUp, check_rate, parse_domain_rates, parse_warm_ups
from newsletter.relays import HOST, Relay, parse_smtp_url

PREFIX = "NEWSLETTER_"


@dataclass(frozen=True, slots=True)
class Sender:
    """The From of every mail: a display name and an address that somebody reads."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The address's domain."""
        return self.address.rpartition("@")[2]


class Settings(BaseSettings):
    """All settings; each is documented in ``.env.example``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    database_url: str = "sqlite:///var/newsletter.db"
    broker_url: SecretStr | None = None
    smtp_url: SecretStr | None = None
    rate: float = 0.0
    rate_domains: str = ""
    warmup: str = ""
    outbox_dir: Path = Path("var/outbox")
    base_url: str = "http://127.0.0.1:8000"
    secret_key: SecretStr | None = None
    sender: str = "Daily Papers <papers@example.org>"
    bounce_domain: str = ""
    dkim_keys: str = ""
    dkim_domain: str = ""
    postal_address: str = ""
    admin_email: str = ""
    sources: str = "huggingface"
    huggingface_url: str = "https://huggingface.co"
    arxiv_rss_url: str = "https://rss.arxiv.org"
    arxiv_api_url: str = "https://export.arxiv.org"
    arxiv_interval_seconds: float = 3.0
    biorxiv_url: str = "https://api.biorxiv.org"
    contact: str = ""
    embedder: str = ""
    embedder_model: str = ""
    embedder_key: SecretStr | None = None
    http_timeout_seconds: float = 30.0
    tracking: Literal["off", "aggregate", "personal"] = "aggregate"
    on_unknown: Literal["hold", "assume-sent", "resend"] = "hold"
    pictures: bool = False
    window_days: int = 7
    wait_minutes: int = 60
    keep_days: int = Field(400, ge=100, le=36_500)  # links in mails are good for 90
    signups_per_hour: int = 200
    signups_per_hour_domain: int = 60
    signups_per_hour_client: int = 5
    signup_work_bits: int = 0
    trusted_proxies: str = "127.0.0.1,::1"
    templates_dir: Path | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_json: bool = False
    host: str = "127.0.0.1"
    port: int = 8000

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put ``NEWSLETTER_X_FILE`` (a secret kept in a file) right behind ``NEWSLETTER_X``."""
        del file_secret_settings
        return init_settings, env_settings, _FileSettings(settings_cls), dotenv_settings

    @field_validator("broker_url", "smtp_url", "secret_key", "templates_dir", "embedder_key", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: SecretStr | None) -> SecretStr | None:
        if value and value.get_secret_value().partition("://")[0] not in {
            "redis",
            "rediss",
            "redis+socket",
            "sentinel",
        }:
            raise ValueError("must look like redis://host:6379/0")
        return value

    @field_validator("base_url", "huggingface_url", "arxiv_rss_url", "arxiv_api_url", "biorxiv_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or re.search(r"[\s<>\"'?#]", value):
            raise ValueError("must be an address such as https://news.example.org, without query or fragment")
        return value.rstrip("/")

    @field_validator("embedder")
    @classmethod
    def _embedder(cls, value: str) -> str:
        if "://" not in value:
            return value.strip()
        if "@" in urlsplit(value).netloc:
            raise ValueError("must be an address without a password: NEWSLETTER_EMBEDDER_KEY is for that")
        return cls._web_address(value)

    @field_validator("embedder_model", "embedder_key")
    @classmethod
    def _one_word(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        told = value.get_secret_value() if isinstance(value, SecretStr) else value or ""
        if not re.fullmatch(r"[!-~]{0,190}", told):
            raise ValueError("must be at most 190 plain letters without spaces")
        return value

    @field_validator("contact")
    @classmethod
    def _header(cls, value: str) -> str:
        if not re.fullmatch(r"[ -~]{0,200}", value):
            raise ValueError("must be an address or a page in plain letters: it goes into a header")
        return value

    @field_validator("bounce_domain", "dkim_domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value and not HOST.match(value):
            raise ValueError("must be a domain such as bounces.example.org")
        return value

    @field_validator("window_days")
    @classmethod
    def _days(cls, value: int) -> int:
        if not 1 <= value <= 60:
            raise ValueError("must be between 1 and 60 days")
        return value

    @field_validator("wait_minutes")
    @classmethod
    def _minutes(cls, value: int) -> int:
        if not 0 <= value <= 720:
            raise ValueError("must be between 0 and 720 minutes")
        return value

    @field_validator("signups_per_hour", "signups_per_hour_domain", "signups_per_hour_client")
    @classmethod
    def _limit(cls, value: int) -> int:
        if not 1 <= value <= 1_000_000:
            raise ValueError("must be between 1 and 1000000")
        return value

    @field_validator("signup_work_bits")
    @classmethod
    def _bits(cls, value: int) -> int:
        if not 0 <= value <= 24:
            raise ValueError("must be between 0 and 24 bits")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: str) -> str:
        for part in filter(None, (each.strip() for each in value.split(","))):
            try:
                ip_network(part, strict=False)
            except ValueError:
                raise ValueError(f"{part} is not an address such as 10.0.0.7 or a network such as 10.0.0.0/8") from None
        return value

    @field_validator("rate")
    @classmethod
    def _rate(cls, value: float) -> float:
        return check_rate(value)

    @field_validator("http_timeout_seconds")
    @classmethod
    def _seconds(cls, value: float) -> float:
        if not 0 < value <= 600:
            raise ValueError("must be between 0 and 600 seconds")
        return value

    @model_validator(mode="after")
    def _parse_composites(self) -> "Settings":
        # Said while starting, not when the first mail is due.
        _ = self.sender_parts, self.relays, self.source_names, self.domain_rates, self.warm_ups, self.dkim_files
        _ = self.admins
        if "://" in self.embedder and not self.embedder_model:
            raise ValueError("embedder_model: an embedder behind an address needs the name of its model")
        if not 0 <= self.arxiv_interval_seconds <= 60 or (
            self.arxiv_interval_seconds < 3 and not self.arxiv_is_mirrored
        ):
            raise ValueError("arxiv_interval_seconds: arXiv's terms of use demand 3 seconds or more, at most 60")
        return self

    @property
    def sender_parts(self) -> Sender:
        """`sender` as name and address."""
        name, address = parseaddr(self.sender)
        local, _, domain = address.rpartition("@")
        # parseaddr leaves a display name alone that smuggles a line break
        if not local or not HOST.match(domain) or "\n" in self.sender or "\r" in self.sender or not address.isascii():
            raise ValueError("sender: must look like: Daily Papers <papers@example.org>")
        return Sender(name=name or address, address=address)

    @property
    def envelope_domain(self) -> str:
        """The domain that bounces go to."""
        return self.bounce_domain or self.sender_parts.domain

    @property
    def admins(self) -> tuple[str, ...]:
        """`admin_email` as addresses, each once."""
        found: dict[str, str] = {}
        for part in filter(None, (each.strip() for each in self.admin_email.split(","))):
            try:
                checked = validate_email(part, check_deliverability=False, allow_smtputf8=False, strict=True)
            except EmailNotValidError:
                raise ValueError("admin_email: must be an address such as ada@example.org, or some, with commas "
                                 f"between: {part[:80]!r} is none") from None  # fmt: skip
            address = f"{checked.local_part}@{checked.ascii_domain}"
            found.setdefault(address.casefold(), address)
        if len(found) > MOST_ADMINS:
            raise ValueError(f"admin_email: at most {MOST_ADMINS} addresses")
        return tuple(found.values())

    @property
    def dkim_files(self) -> tuple[tuple[str, Path], ...]:
        """`dkim_keys` as selectors, each with the file of its key."""
        found: dict[str, Path] = {}
        for part in self.dkim_keys.split():
            selector, colon, path = part.partition(":")
            if not colon or not path or not _SELECTOR.fullmatch(selector):
                raise ValueError("dkim_keys: must look like: news2026:/etc/newsletter/news2026.pem")
            if selector in found:
                raise ValueError(f"dkim_keys: {selector} stands there twice")
            found[selector] = Path(path)
        return tuple(found.items())

    @property
    def signing_domain(self) -> str:
        """The domain that mails are signed for."""
        return (self.dkim_domain or self.sender_parts.domain).lower()

    @property
    def relays(self) -> tuple[Relay, ...]:
        """`smtp_url` taken apart: one relay or several; none means the outbox."""
        urls = self.smtp_url.get_secret_value().split() if self.smtp_url else []
        found = tuple(parse_smtp_url(url) for url in urls)
        if found and not any(relay.weight for relay in found):
            raise ValueError("smtp_url: at least one relay needs a weight above 0")
        return found

    @property
    def domain_rates(self) -> DomainRates:
        """`rate_domains` as limits of recipients' domains."""
        return parse_domain_rates(self.rate_domains)

    @property
    def warm_ups(self) -> Mapping[str, WarmUp]:
        """`warmup` as plans by relay."""
        return parse_warm_ups(self.warmup)

    @property
    def source_names(self) -> tuple[str, ...]:
        """`sources` as names, in order, each once."""
        names = tuple(dict.fromkeys(name.strip() for name in self.sources.split(",") if name.strip()))
        for name in names:
            family, _, what = name.partition(":")
            takes = SOURCES.get(family, "").partition(":")[2]
            if family not in SOURCES or (what and not takes) or (family == "feed" and not what):
                hint = "; a comma in an address is written %2C" if "feed:" in self.sources else ""
                raise ValueError(f"sources: {name} is not a source; there is: {', '.join(SOURCES.values())}{hint}")
            if len(name) > MAX_SOURCE:
                raise ValueError(f"sources: {name[:60]}… is longer than {MAX_SOURCE} characters")
            if family == "arxiv" and what and not _CATEGORIES.fullmatch(what):
                raise ValueError(f"sources: {name}: categories look like arxiv:cs.CL+cs.LG")
        return names

    @property
    def arxiv_is_mirrored(self) -> bool:
        """Whether another host stands in for arXiv: its terms of use are not that host's."""
        hosts = [(urlsplit(url).hostname or "").rstrip(".") for url in (self.arxiv_rss_url, self.arxiv_api_url)]
        return not any(host == "arxiv.org" or host.endswith(".arxiv.org") for host in hosts)

    @property
    def window(self) -> timedelta:
        """How long a paper stays a candidate."""
        return timedelta(days=self.window_days)

    @property
    def longest_wait(self) -> timedelta:
        """How long an issue waits for a list that is late, from its first reader's hour on."""
        return timedelta(minutes=self.wait_minutes)


MOST_ADMINS = 10
MAX_SOURCE = 500  # characters of a source's name, with its address
SOURCES = {
    "huggingface": "huggingface",
    "arxiv": "arxiv:cs.CL+cs.LG",
    "biorxiv": "biorxiv",
    "medrxiv": "medrxiv",
    "feed": "feed:https://…",
}
_SELECTOR = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
_CATEGORIES = re.compile(r"[a-z-]+(\.[A-Za-z-]+)?(\+[a-z-]+(\.[A-Za-z-]+)?)*")


class _FileSettings(PydanticBaseSettingsSource):
    """``NEWSLETTER_X_FILE=/run/secrets/x`` stands for ``NEWSLETTER_X=<content of that file>``."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401  pydantic's signature
        del field
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(f"{PREFIX}{field_name.upper()}_FILE cannot be read: {path}") from exc

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def load(**overrides: object) -> Settings:
    """Read the settings.

    :raises SettingsError: one line that names each wrong setting.
    """
    try:
        loaded = Settings(**overrides)  # type: ignore[arg-type]
        lines = unknown_variables(dotenv_values(".env")) if "_env_file" not in overrides else []
    except ValidationError as exc:
        raise SettingsError("; ".join(_describe(error) for error in exc.errors())) from None
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8") from None
    if lines:
        raise SettingsError(f".env: {'; '.join(lines)}")
    return loaded


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return a line for each ``NEWSLETTER_…`` variable that no setting answers to.

    In the environment only a warning: container platforms set such variables for a service named "newsletter".
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    lines = []
    for name in sorted(set(filter(lambda key: key.startswith(PREFIX), names)) - known):
        near = difflib.get_close_matches(name, known, n=1)
        lines.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return lines


def _describe(error: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    where = ".".join(str(part) for part in error["loc"])
    what = str(error["msg"]).removeprefix("Value error, ")
    if not where:  # the composites name themselves
        where, _, what = what.partition(": ")
    return f"{PREFIX}{where.upper()}: {what}"
