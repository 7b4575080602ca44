"""What everybody talks about, beside what a reader gets for themselves. Pure."""

from collections.abc import Iterable, Sequence

from newsletter.ranking.pool import Pool
from newsletter.ranking.types import Wish


def hottest(
    pool: Pool, wishes: Sequence[Wish], picked: Sequence[Iterable[int]], hot: Sequence[int], number: int
) -> list[tuple[int, ...]]:
    """Return some hot papers for each reader, as columns: none that they muted, were sent before, or get as a pick.

    Nor one that says the same as a pick. Nothing for who has no pick, or neither asks for nor likes anything: their
    picks are the hottest papers.

    :param picked: by reader, their picks' columns.
    :param hot: columns to choose from, the hottest first.
    :param number: the most papers for one reader.
    """
    ids, twins = pool.ids[list(hot)].tolist(), [pool.twins(column) for column in hot]
    muted: dict[str, frozenset[int]] = {}
    found = []
    for wish, theirs in zip(wishes, picked, strict=True):
        asked, among = wish.interests, set(theirs)
        chosen: list[int] = []
        likes = any(each.weight > 0 for each in asked.rated)
        if among and (asked.wanted or asked.authors or asked.categories or likes):
            for mute in set(asked.mutes) - muted.keys():
                hidden = pool.mentions(mute) | pool.written_by(mute) | pool.filed_under(mute)
                muted[mute] = frozenset(column for column in hot if hidden[column])
            for column, paper_id, same in zip(hot, ids, twins, strict=True):
                if paper_id in wish.seen or column in among or not same.isdisjoint(among):
                    continue
                if not any(column in muted[mute] for mute in asked.mutes):
                    chosen.append(column)
                    among.add(column)
                    if len(chosen) == number:
                        break
        found.append(tuple(chosen))
    return found
