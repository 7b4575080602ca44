"""Mail addresses: checked, and two spellings of the same one made comparable. Pure."""

import hashlib

from email_validator import EmailNotValidError, validate_email

from newsletter.errors import InputError

_DOTLESS = {"gmail.com", "googlemail.com"}


def parse_address(text: str) -> str:
    """Return the address as it is mailed: local part as typed, domain in lower-case ASCII (IDNA).

    :raises InputError: with the part that is wrong.
    """
    try:
        # A local part outside ASCII needs SMTPUTF8 at every relay on the way.
        result = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as exc:
        raise InputError(f"{shown(text)} is not a mail address: {exc}") from None
    return f"{result.local_part}@{result.ascii_domain}"


def address_key(address: str) -> str:
    """Return the spelling under which an address is unique: no relay in use tells case apart."""
    return address.casefold()


def mailbox_hash(address: str) -> str:
    """Return the hash under which mails are counted: ``ada+anything@`` and, at Gmail, ``a.da@`` reach one mailbox."""
    local, _, domain = address_key(address).rpartition("@")
    local = local.partition("+")[0] or local
    return address_hash(f"{local.replace('.', '') if domain in _DOTLESS else local}@{domain}")


def address_hash(address: str) -> str:
    """Return the hash under which an address is suppressed, so that the list of them names nobody."""
    return hashlib.sha256(address_key(address).encode()).hexdigest()


def shown(text: str) -> str:
    """Return what somebody typed, fit for one line of an error message."""
    text = "".join(char if char.isprintable() else "?" for char in text.strip())
    return repr(text if len(text) <= 80 else text[:77] + "...")
