"""``/confirm/<token>`` and ``/address/<token>``: pages with one button, and what the button does."""

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from newsletter import membership, sampling, steering
from newsletter.app import App
from newsletter.errors import BusyError, TokenError
from newsletter.membership import Confirmed
from newsletter.papers import store as papers
from newsletter.papers.pasted import PastedPaper
from newsletter.papers.textclean import bare
from newsletter.sampling import Sampled
from newsletter.signing import Purpose, Signed
from newsletter.subscribers import store
from newsletter.subscribers.changes import store as changes
from newsletter.subscribers.intake import store as intake
from newsletter.subscribers.models import State
from newsletter.subscribers.preferences import Preferences, interest_names
from newsletter.web import shown
from newsletter.web.deps import AppDep, Show, ShowDep
from newsletter.web.readers import fingerprint, preferences_path, refuse_other_sites

router = APIRouter(dependencies=[Depends(refuse_other_sites)])
AGREED = "Your papers start coming once you press the button."
_BAD = "this link is not valid"


@router.api_route("/confirm/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def ask(token: str, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Show what is about to be confirmed, and what it would bring."""
    with app.db.snapshot() as session:
        sign_up = intake.get(session, (signed := _signed(app, token)).id)
        person = store.get(session, sign_up.subscriber_id) if sign_up and sign_up.subscriber_id else None
        if sign_up is None or person is None or membership.is_over(sign_up, person):
            raise TokenError(_BAD)
        liked = [PastedPaper(*each) for each in sign_up.liked]
        known = papers.find_pasted(session, liked)
    wishes = Preferences.model_validate(sign_up.wishes) if sign_up.wishes else person.preferences
    show = show.speaking(wishes.language)
    if person.state == State.ACTIVE:
        return _confirmed(app, show, Confirmed(person), signed)
    titles = [known[each.key].title if each.key in known else each.title for each in liked]
    return show(
        "confirm.html",
        preferences=wishes,
        interests=[*interest_names(wishes), *([wishes.about] if wishes.about else [])],
        liked=[bare(title) or each.key.partition(":")[2] for title, each in zip(titles, liked, strict=True)],
        sample=shown.sample(_sampled(app, wishes, liked)),
    )


@router.post("/confirm/{token}", response_class=HTMLResponse)
def act(token: str, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Confirm; pressing twice is the same as once."""
    signed = _signed(app, token)
    with app.db.snapshot() as session:
        sign_up = intake.get(session, signed.id)
    shown_in = show.speaking(str((sign_up.wishes or {}).get("language", ""))) if sign_up else show
    done = membership.confirm(app, signed.id, said=shown_in.say(AGREED), token=fingerprint(app, token))
    if done is None:
        raise TokenError(_BAD)
    return _confirmed(app, show.speaking(done.subscriber.language), done, signed)


@router.api_route("/address/{token}", methods=["GET", "HEAD"], response_class=HTMLResponse)
def ask_address(token: str, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Show which address is about to be used."""
    with app.db.snapshot() as session:
        change = changes.address_change(session, _change_id(app, token))
        person = store.get(session, change.subscriber_id) if change else None
    if change is None or person is None or person.state != State.ACTIVE:
        raise TokenError(_BAD)
    if change.done_at and person.email != change.new_email:
        raise TokenError(_BAD)
    return show.speaking(person.language)("new_address.html", email=change.new_email)


@router.post("/address/{token}", response_class=HTMLResponse)
def act_address(token: str, app: AppDep, show: ShowDep) -> HTMLResponse:
    """Mail the reader there from now on; pressing twice is the same as once."""
    change_id = _change_id(app, token)
    with app.db.snapshot() as session:
        change = changes.address_change(session, change_id)
    person = steering.move(app, change_id, token=fingerprint(app, token))
    if person is None or change is None:
        raise TokenError(_BAD)
    path = "" if change.done_at else preferences_path(app, person)  # a later press is by a link that has ended
    return show.speaking(person.language)("moved.html", email=person.email, preferences_url=path)


def _confirmed(app: App, show: Show, done: Confirmed, signed: Signed) -> HTMLResponse:
    person = done.subscriber
    ended = person.links_since is not None and signed.at < person.links_since  # this link is one of the earlier ones
    path = "" if ended else preferences_path(app, person)
    return show("confirmed.html", preferences=person.preferences, first=done.first, preferences_url=path)


def _sampled(app: App, wishes: Preferences, liked: list[PastedPaper]) -> Sampled | None:
    try:
        return sampling.sample(app, wishes, liked)
    except BusyError:
        return None  # too many look at once: the button matters more


def _signed(app: App, token: str) -> Signed:
    return app.signer.read(Purpose.CONFIRM, token, now=app.now(), max_age=membership.CONFIRM_WITHIN)


def _change_id(app: App, token: str) -> int:
    return app.signer.unsign(Purpose.NEW_ADDRESS, token, now=app.now(), max_age=steering.MOVE_WITHIN)
