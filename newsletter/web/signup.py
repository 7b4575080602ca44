"""``/`` and ``/subscribe``: the form, and what is typed into it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from newsletter import membership
from newsletter.errors import InputError
from newsletter.subscribers.addresses import parse_address
from newsletter.subscribers.preferences import (
    LISTS,
    Cadence,
    Preferences,
    field_errors,
    parse_preferences,
    split_list,
)
from newsletter.subscribers.topics import TOPICS
from newsletter.web.deps import AppDep, PagesDep
from newsletter.web.pages import Pages

router = APIRouter()
_MAX_FIELDS = 200
_MAX_FIELD_CHARS = 4_000


@router.api_route("/", methods=["GET", "HEAD"], response_class=HTMLResponse)
@router.api_route("/subscribe", methods=["GET", "HEAD"], response_class=HTMLResponse)
def form(pages: PagesDep) -> HTMLResponse:
    """Show the empty form."""
    return _page(pages, typed=_defaults(), errors={})


@router.post("/subscribe", response_class=HTMLResponse)
async def subscribe(request: Request, app: AppDep, pages: PagesDep) -> HTMLResponse:
    """Take a sign-up; the answer is the same whether or not the address is known."""
    try:
        typed = _typed(await request.form(max_fields=_MAX_FIELDS, max_files=0))
    except UnicodeError as exc:  # a charset that cannot be decoded, named by the sender
        raise HTTPException(400) from exc
    errors = {name: "too long" for name, value in typed.items() if len(str(value)) > _MAX_FIELD_CHARS}
    errors |= _address_error(typed["email"])
    values = {
        name: value for name, value in typed.items() if name in Preferences.model_fields and value not in ("", [])
    }
    values |= {name: split_list(typed[name], ",;\n") for name in LISTS if name != "topics"}
    errors |= field_errors(values)
    if errors:
        return _page(pages, typed=typed, errors=errors, status=400)
    email = parse_address(typed["email"])
    await run_in_threadpool(membership.sign_up, app, email, parse_preferences(values))
    return HTMLResponse(pages.render("check_inbox.html", email=email))


def _typed(form: FormData) -> dict[str, Any]:
    """Return what was typed, a text for each field and a list for the topics; fields we do not know are ignored."""
    names = ("email", *Preferences.model_fields)
    typed: dict[str, Any] = {name: _text(form, name) for name in names if name != "topics"}
    return typed | {"topics": [_storable(value) for value in form.getlist("topics") if isinstance(value, str)]}


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return _storable(value).strip() if isinstance(value, str) else ""


def _storable(text: str) -> str:
    """Replace halves of characters, which some charsets can spell and no answer can carry."""
    return text.encode(errors="replace").decode()


def _defaults() -> dict[str, Any]:
    values = Preferences().model_dump(mode="json")
    return {"email": ""} | {name: "" if name in LISTS and name != "topics" else values[name] for name in values}


def _address_error(text: str) -> dict[str, str]:
    try:
        parse_address(text)
    except InputError as exc:
        return {"email": str(exc) if text else "Please give your mail address."}
    return {}


def _page(pages: Pages, *, typed: Mapping[str, Any], errors: Mapping[str, str], status: int = 200) -> HTMLResponse:
    page = pages.render(
        "subscribe.html",
        typed=typed,
        errors=errors,
        topics=list(dict.fromkeys((*TOPICS, *typed["topics"]))),
        zones=_zones(),
        cadences=list(Cadence),
    )
    return HTMLResponse(page, status_code=status)


@lru_cache(maxsize=1)
def _zones() -> Mapping[str, Sequence[tuple[str, str]]]:
    """Return the zones people live in by continent, each as its name and its place."""
    continents = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
    names = sorted(available_timezones())
    return {
        continent: [
            (name, name.partition("/")[2].replace("_", " ")) for name in names if name.startswith(f"{continent}/")
        ]
        for continent in continents
    }
