"""``/preferences/<token>``: everything a reader can change, without a password, saved at once and with undo."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from newsletter import privacy, sampling, steering
from newsletter.app import App
from newsletter.errors import InputError
from newsletter.papers import store as papers
from newsletter.signing import Purpose
from newsletter.subscribers import store as subscribers
from newsletter.subscribers.changes import store as changes
from newsletter.subscribers.models import Subscriber
from newsletter.subscribers.preferences import Preferences
from newsletter.subscribers.ratings import store as ratings
from newsletter.web import forms, shown
from newsletter.web.deps import AppDep, Show, ShowDep, app_of
from newsletter.web.readers import by_preferences, feed_path, preferences_path, refuse_other_sites

router = APIRouter(prefix="/preferences", dependencies=[Depends(refuse_other_sites)])
_MOST_SHOWN = 100
_SAID = {"undone": "It is as it was before.", "same": "Nothing was changed."}


def _reader(token: str, request: Request) -> Subscriber:
    return by_preferences(app_of(request), token)


ReaderDep = Annotated[Subscriber, Depends(_reader)]


@router.api_route("/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def look(token: str, person: ReaderDep, app: AppDep, show: ShowDep, saved: str = "", older: str = "") -> HTMLResponse:
    """Show all of it.

    :param saved: the change that was just made, and can be undone.
    :param older: of what they said of papers only what is older than this.
    """
    with app.db.snapshot() as session:
        last = changes.latest(session, person.id or 0)
    undoable = last.id if last and str(last.id) == saved else None
    said = _SAID.get(saved, "")
    said = show.speaking(person.language).say(said)
    return _page(app, show, person, token, changed=undoable, said=said, older=forms.as_number(older))


@router.post("/{token}", response_class=HTMLResponse, openapi_extra=forms.described())
async def save(token: str, person: ReaderDep, request: Request, app: AppDep, show: ShowDep) -> Response:
    """Put what was chosen into force."""
    fields = await forms.read(request)
    return await run_in_threadpool(_save, app, show, person, token, fields)


@router.post("/{token}/undo", response_class=HTMLResponse, openapi_extra=forms.described("change"))
async def undo(token: str, person: ReaderDep, request: Request, app: AppDep, show: ShowDep) -> Response:
    """Put back what was before the last change."""
    change_id = forms.number(await forms.read(request), "change")
    done = await run_in_threadpool(steering.undo, app, person.id or 0, change_id)
    if not done:
        show = show.speaking(person.language)
        return _page(app, show, person, token, said=show.say("That was changed again meanwhile."))
    return _again(token, "undone")


@router.post(
    "/{token}/papers", response_class=HTMLResponse, openapi_extra=forms.described("papers", "drop", "restore", "older")
)
async def papers_(token: str, person: ReaderDep, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Add papers they like, or take back a word on one, or put it back."""
    fields = await forms.read(request)
    return await run_in_threadpool(_papers, app, show, person, token, fields)


@router.post("/{token}/pause", response_class=HTMLResponse, openapi_extra=forms.described("until", "resume"))
async def pause(token: str, person: ReaderDep, request: Request, app: AppDep, show: ShowDep) -> Response:
    """Pause until a day, or end the pause."""
    fields = await forms.read(request)
    return await run_in_threadpool(_pause, app, show, person, token, fields)


@router.post("/{token}/address", response_class=HTMLResponse, openapi_extra=forms.described("email"))
async def address(token: str, person: ReaderDep, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Ask the new address whether mail may go there."""
    show = show.speaking(person.language)
    typed = forms.text(await forms.read(request), "email")
    email, errors = forms.address(typed, show)
    if not errors:
        try:
            await run_in_threadpool(steering.ask_address, app, person.id or 0, email)
        except InputError as exc:
            errors = {"email": show.say(str(exc))}
    if errors:
        return _page(app, show, person, token, typed={"email": typed}, errors=errors)
    said = "We have sent a mail to the new address; nothing changes before it is confirmed from there."
    return _page(app, show, person, token, said=show.say(said))


@router.api_route("/{token}/export", methods=["GET", "HEAD"])
def export(person: ReaderDep, app: AppDep) -> Response:
    """Return everything we know about them, as a file."""
    with app.db.snapshot() as session:
        known = subscribers.get(session, person.id or 0) or person
        everything = privacy.everything(session, known)
    return JSONResponse(everything, headers={"content-disposition": 'attachment; filename="newsletter.json"'})


@router.post("/{token}/links", response_class=HTMLResponse)
def links(token: str, person: ReaderDep, app: AppDep, show: ShowDep) -> HTMLResponse:
    """End all earlier links, and go on with a new one."""
    show = show.speaking(person.language)
    try:
        fresh = steering.end_links(app, person.id or 0)
    except InputError as exc:
        return _page(app, show, person, token, said=show.say(str(exc)))
    token = preferences_path(app, fresh).rpartition("/")[2]
    said = "All earlier links have stopped working. We have sent you a new one."
    return _page(app, show, fresh, token, said=show.say(said))


@router.post("/{token}/erase", response_class=HTMLResponse, openapi_extra=forms.described("sure"))
async def erase(token: str, person: ReaderDep, request: Request, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Delete them and all we know, if they are sure."""
    show = show.speaking(person.language)
    if forms.text(await forms.read(request), "sure") != "yes":
        errors = {"sure": show.say("Please tick the box if you are sure.")}
        return _page(app, show, person, token, errors=errors)
    await run_in_threadpool(privacy.erase, app, person.id or 0)
    return show("erased.html")


def again(token: str, person: ReaderDep) -> RedirectResponse:
    """Lead back to the page when what a button did is loaded anew."""
    del person
    return _again(token)


for _part in ("undo", "papers", "pause", "address", "links", "erase"):
    router.add_api_route(f"/{{token}}/{_part}", again, methods=["GET", "HEAD"], include_in_schema=False)


def _save(app: App, show: Show, person: Subscriber, token: str, fields: FormData) -> Response:
    if not Preferences.model_fields.keys() & fields.keys():
        raise HTTPException(400)  # not our form: all wishes would be gone
    typed = forms.typed(fields)
    wishes, errors = forms.wishes(typed, show.speaking(person.language))
    if wishes is None:
        return _page(app, show, person, token, typed=typed, errors=errors)
    changed = steering.save(app, person.id or 0, wishes)
    return _again(token, str(changed or "same"))


def _papers(app: App, show: Show, person: Subscriber, token: str, fields: FormData) -> HTMLResponse:
    show, who, older = show.speaking(person.language), person.id or 0, forms.number(fields, "older")
    if rating_id := forms.number(fields, "drop"):
        dropped = steering.take_back(app, who, rating_id)
        said = show.say("Taken back.") if dropped else ""
        return _page(app, show, person, token, dropped=rating_id if dropped else 0, said=said, older=older)
    if rating_id := forms.number(fields, "restore"):
        steering.take_back(app, who, rating_id, restore=True)
        return _page(app, show, person, token, said=show.say("It is as it was before."), older=older)
    typed = {"papers": forms.text(fields, "papers")}
    paste = sampling.read(app, typed["papers"])
    added = steering.like(app, who, paste.papers)
    said = show.say("Papers added: %(count)s.", count=added) if added else ""
    if paste.papers and not added:
        said = show.say("You like these already.")
    notes = [show.trouble(each) for each in paste.notes]
    return _page(app, show, person, token, typed={} if paste.papers else typed, said=said, notes=notes)


def _pause(app: App, show: Show, person: Subscriber, token: str, fields: FormData) -> Response:
    show, who = show.speaking(person.language), person.id or 0
    if forms.text(fields, "resume"):
        return _again(token, str(steering.resume(app, who) or "same"))
    try:
        until = date.fromisoformat(forms.text(fields, "until"))
        return _again(token, str(steering.pause(app, who, until)))
    except (ValueError, InputError):
        wrong = show.say("Please choose a day between tomorrow and a year from now.")
    return _page(app, show, person, token, typed={"until": forms.text(fields, "until")}, errors={"until": wrong})


def _again(token: str, saved: str = "") -> RedirectResponse:
    """Show the page anew, so that reloading it does nothing twice."""
    return RedirectResponse(f"/preferences/{token}" + (f"?saved={saved}" if saved else ""), status_code=303)


def _page(
    app: App,
    show: Show,
    person: Subscriber,
    token: str,
    *,
    typed: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
    changed: int | None = None,
    dropped: int = 0,
    older: int = 0,
    notes: Sequence[str] = (),
    said: str = "",
) -> HTMLResponse:
    now = app.now()
    today = steering.local_day(person, now)
    with app.db.snapshot() as session:
        said_of = [
            each
            for each in reversed(ratings.all_of(session, person.id or 0))
            if (each.taken_back_at is None or each.id == dropped) and not 0 < older <= (each.id or 0)
        ]
        words = said_of[:_MOST_SHOWN]
        known = papers.by_ids(session, {each.paper_id for each in words if each.paper_id})
    views = [shown.rating(each, known.get(each.paper_id or 0)) for each in words]
    values = {"until": ""} | forms.as_typed(person.preferences) | dict(typed or {})
    leave = app.signer.sign(Purpose.UNSUBSCRIBE, person.id or 0, now=now)
    paused = person.paused_until if person.paused_until and person.paused_until > today else None
    return show.speaking(person.language)(
        "preferences.html",
        400 if errors else 200,
        address=person.email,
        typed=values,
        errors=errors or {},
        choices=forms.choices(values["topics"]),
        ratings=views,
        before=older,
        older=views[-1].id if len(said_of) > len(words) else 0,
        changed=changed,
        dropped=next((each for each in views if each.id == dropped), None),
        notes=notes,
        said=said,
        paused_until=paused,
        base=f"/preferences/{token}",
        tomorrow=today + timedelta(days=1),
        unsubscribe_url=f"/u/{leave}",
        feed=feed_path(app, person),
    )
