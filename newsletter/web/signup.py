"""``/`` and ``/subscribe``: the form, its live sample, and what is typed into it; ``/link`` for who lost theirs."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from newsletter import membership, sampling
from newsletter.app import App
from newsletter.errors import BusyError
from newsletter.membership import Asking
from newsletter.subscribers.preferences import Preferences
from newsletter.web import entrance, forms, shown
from newsletter.web.deps import AppDep, Show, ShowDep, show_for
from newsletter.web.entrance import Evidence
from newsletter.web.views import Sample

router = APIRouter()
AGREED = (
    "First comes one mail to check that the address is yours, and one reminder if you forget it. "
    "Nothing else is sent until you confirm, and every mail has a link to unsubscribe."
)


@router.api_route("/", methods=["GET", "HEAD"], response_class=HTMLResponse)
@router.api_route("/subscribe", methods=["GET", "HEAD"], response_class=HTMLResponse)
def form(app: AppDep, show: ShowDep) -> HTMLResponse:
    """Show the empty form."""
    return _page(app, show, typed=forms.as_typed(Preferences(language=show.language)))


@router.post("/subscribe", response_class=HTMLResponse, openapi_extra=forms.described())
async def subscribe(request: Request, app: AppDep) -> HTMLResponse:
    """Take a sign-up; the answer is the same whoever's the address is."""
    fields = await forms.read(request)
    show = show_for(request, forms.text(fields, "lang"))
    return await run_in_threadpool(_subscribe, app, show, fields, entrance.client(app, request))


@router.post("/subscribe/sample", response_class=HTMLResponse, openapi_extra=forms.described())
async def sample(request: Request, app: AppDep) -> HTMLResponse:
    """Show what these wishes would bring, as a piece of the page; nothing is written down."""
    fields = await forms.read(request)
    show, typed = show_for(request, forms.text(fields, "lang")), forms.typed(fields)
    found, notes, _ = await run_in_threadpool(_sample, app, show, typed)
    return show("_sample.html", sample=found, notes=notes)


@router.api_route("/link", methods=["GET", "HEAD"], response_class=HTMLResponse)
def link_form(app: AppDep, show: ShowDep) -> HTMLResponse:
    """Ask for the address to which the link goes."""
    return _link_page(app, show)


@router.post("/link", response_class=HTMLResponse, openapi_extra=forms.described("email"))
async def link(request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Mail a reader their link; the answer is the same whoever's the address is."""
    fields = await forms.read(request)
    typed = forms.text(fields, "email")
    email, errors = forms.address(typed, show)
    evidence = evidence_of(fields)
    if errors:
        return _link_page(app, show, typed, errors, status=400)
    if not entrance.is_machine(evidence):
        if entrance.needs_another_press(app, evidence, email):
            return _link_page(app, show, typed)
        await run_in_threadpool(membership.ask, app, Asking(email, client=entrance.client(app, request)))
    return show("link_sent.html", email=email)


def evidence_of(fields: FormData) -> Evidence:
    """Return what a form says of who filled it in."""
    return Evidence(*(forms.text(fields, name)[:200] for name in ("website", "stamp", "work")))


def _subscribe(app: App, show: Show, fields: FormData, client: str) -> HTMLResponse:
    typed = forms.typed(fields)
    if forms.text(fields, "show") == "sample":
        return _with_sample(app, show, typed)
    email, errors = forms.address(typed["email"], show)
    wishes, wrong = forms.wishes(typed, show)
    if errors or wishes is None:
        return _page(app, show, typed=typed, errors=errors | wrong, status=400)
    evidence = evidence_of(fields)
    if not entrance.is_machine(evidence):
        if entrance.needs_another_press(app, evidence, email):
            return _page(app, show, typed=typed, again=True)
        try:
            liked = sampling.read(app, typed["papers"]).papers
        except BusyError as exc:
            return _page(app, show, typed=typed, again=True, notes=[show.say(str(exc))], status=503)
        # a form on another site has no stamp, and showed words of its own
        said = show.say(AGREED) if evidence.stamp else ""
        membership.ask(app, Asking(email, wishes, liked, client, said=said))
    return show("check_inbox.html", email=email)


def _sample(app: App, show: Show, typed: Mapping[str, Any]) -> tuple[Sample | None, Sequence[str], dict[str, str]]:
    """Return a sample, what could not be read, and what is wrong; wishes that are wrong count for nothing."""
    wishes, errors = forms.wishes(typed, show)
    if wishes is None:
        return None, list(errors.values()), errors
    try:
        paste = sampling.read(app, typed["papers"])
        found = shown.sample(sampling.sample(app, wishes, paste.papers))
    except BusyError as exc:
        return None, [show.say(str(exc))], {}
    return found or Sample(app.now().date(), 0, []), [show.trouble(each) for each in paste.notes], {}


def _with_sample(app: App, show: Show, typed: Mapping[str, Any]) -> HTMLResponse:
    found, notes, errors = _sample(app, show, typed)
    return _page(app, show, typed=typed, errors=errors, sample=found, notes=notes, status=400 if errors else 200)


def _page(
    app: App,
    show: Show,
    *,
    typed: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
    sample: Sample | None = None,
    notes: Sequence[str] = (),
    again: bool = False,
    status: int = 200,
) -> HTMLResponse:
    return show(
        "subscribe.html",
        status,
        typed=typed,
        errors=errors or {},
        choices=forms.choices(typed["topics"]),
        stamp=entrance.stamp(app),
        work_bits=app.settings.signup_work_bits,
        sample=sample,
        notes=notes,
        again=again,
    )


def _link_page(
    app: App, show: Show, email: str = "", errors: Mapping[str, str] | None = None, status: int = 200
) -> HTMLResponse:
    return show(
        "link.html",
        status,
        typed={"email": email},
        errors=errors or {},
        stamp=entrance.stamp(app),
        work_bits=app.settings.signup_work_bits,
    )
