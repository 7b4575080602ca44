"""``/api/v1``: signing up, and the sample, for forms on other sites; described at ``/api/docs``."""

import warnings
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from newsletter import __version__, membership, sampling
from newsletter.errors import InputError
from newsletter.membership import Asking
from newsletter.papers.pasted import MAX_PASTED_CHARS
from newsletter.subscribers.addresses import parse_address
from newsletter.subscribers.intake.models import EntryPoint
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.topics import TOPICS
from newsletter.web import entrance, shown
from newsletter.web.deps import AppDep, ShowDep
from newsletter.web.entrance import Evidence

router = APIRouter(prefix="/api")
_THANKS = "If this address can be subscribed, a mail with a link to confirm is on its way."


class Wishes(Preferences):
    """Preferences, and papers that are liked: arXiv ids or links, DOIs, titles, BibTeX, RIS or CSL JSON as one text."""

    papers: Annotated[str, Field(max_length=MAX_PASTED_CHARS)] = ""


class NewSignUp(Wishes):
    """A sign-up.

    `stamp` comes from ``GET /api/v1/form``, and so does how much `work` there is to do, if any; `website` stays empty.
    """

    email: Annotated[str, Field(max_length=320)]
    website: Annotated[str, Field(max_length=200)] = ""
    stamp: Annotated[str, Field(max_length=200)] = ""
    work: Annotated[str, Field(max_length=40)] = ""


class FormFacts(BaseModel):
    """What a form needs to know.

    `work_bits`: a decimal number `work` must be found for which SHA-256 of ``stamp:email:work`` begins with so many
    zero bits, the address in small letters; 0 means that none is asked for.
    """

    stamp: str
    work_bits: int
    topics: list[str]


class Accepted(BaseModel):
    """The same answer for every address."""

    message: str


class Picked(BaseModel):
    """A paper that would have come, and why."""

    title: str
    url: str
    authors: str
    reason: str
    teaser: str


class SampleOut(BaseModel):
    """What the latest issue would have held."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day": "2026-08-05", "considered": 143, "picks": []}]})

    day: str
    considered: int
    picks: list[Picked]
    notes: list[str] = []


class Errors(BaseModel):
    """What is wrong, by field."""

    errors: dict[str, str]


_WRONG: dict[int | str, dict[str, Any]] = {
    400: {"model": Errors, "description": "no JSON"},
    413: {"model": Errors, "description": "too long"},
    422: {"model": Errors, "description": "a field is wrong"},
}


@router.api_route("/v1/form", methods=["GET", "HEAD"], summary="What a form for signing up needs")
def form(app: AppDep) -> FormFacts:
    """Return a fresh stamp, whether work is asked for, and the topics to choose from."""
    return FormFacts(stamp=entrance.stamp(app), work_bits=app.settings.signup_work_bits, topics=list(TOPICS))


@router.post("/v1/signups", status_code=202, summary="Sign up", responses=_WRONG | {428: {"model": Errors}})
def sign_up(asked: NewSignUp, request: Request, app: AppDep) -> Accepted:
    """Take a sign-up under the same limits as the form; the answer is the same whoever's the address is."""
    try:
        email = parse_address(asked.email)
    except InputError as exc:
        raise FieldError("email", str(exc)) from exc
    evidence = Evidence(asked.website, asked.stamp, asked.work)
    if not entrance.is_machine(evidence):
        if entrance.needs_another_press(app, evidence, email):
            raise FieldError("stamp", "get a fresh stamp from /api/v1/form, do its work, and wait two seconds", 428)
        wishes = Preferences.model_validate(asked.model_dump(include=set(Preferences.model_fields)))
        liked = sampling.read(app, asked.papers).papers
        client = entrance.client(app, request)
        membership.ask(app, Asking(email, wishes, liked, client, EntryPoint.API))
    return Accepted(message=_THANKS)


@router.post("/v1/sample", summary="What would come", responses=_WRONG | {503: {"model": Errors}})
def sample(asked: Wishes, app: AppDep) -> SampleOut:
    """Return the papers of the latest issue that fit these wishes; nothing is written down."""
    wishes = Preferences.model_validate(asked.model_dump(include=set(Preferences.model_fields)))
    paste = sampling.read(app, asked.papers)
    found = shown.sample(sampling.sample(app, wishes, paste.papers))
    if found is None:
        return SampleOut(day=app.now().date().isoformat(), considered=0, picks=[], notes=list(map(str, paste.notes)))
    picks = [
        Picked(title=each.title, url=each.url, authors=each.authors, reason=each.reason, teaser=each.teaser)
        for each in found.picks
    ]
    return SampleOut(
        day=found.day.isoformat(), considered=found.considered, picks=picks, notes=list(map(str, paste.notes))
    )


@router.api_route("/openapi.json", methods=["GET", "HEAD"], include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """Return the description for machines."""
    return JSONResponse(described(request))


@router.api_route("/docs", methods=["GET", "HEAD"], response_class=HTMLResponse, include_in_schema=False)
def docs(request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Return the description for people."""
    routes = [
        (method.upper(), path, str(what.get("summary", "")))
        for path, methods in described(request)["paths"].items()
        for method, what in methods.items()
        if path.startswith("/api/")
    ]
    return show("api.html", routes=routes, base_url=app.settings.base_url)


def described(request: Request) -> dict[str, Any]:
    """Return the OpenAPI description of all there is."""
    web = request.app
    if not hasattr(web.state, "described"):
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # GET and HEAD share a name
            found = get_openapi(title="newsletter", version=__version__, routes=web.routes)
        for methods in found["paths"].values():
            methods.pop("head", None)
        web.state.described = found
    return dict(web.state.described)


class FieldError(Exception):
    """A field of a call is wrong."""

    def __init__(self, field: str, said: str, status: int = 422) -> None:
        super().__init__(said)
        self.field = field
        self.status = status
