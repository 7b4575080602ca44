"""The sandbox stops what is cheap to write and dear to run, and changes nothing for who writes templates."""

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from newsletter.rendering.limits import MAX_OUTPUT, MAX_STEPS, Sandbox, TooMuchError

TOO_MUCH = {
    "loops": "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}",
    "loops over what is kept": "{% set x = range(999) %}{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
    "a loop in a macro": "{% macro m() %}{% for a in range(999) %}x{% endfor %}{% endmacro %}"
    "{% for a in range(999) %}{{ m() }}{% endfor %}",
    "calls that double": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "a long range": "{{ range(10**6) | length }}",
    "a text times a number": "{{ 'a' * 10**10 }}",
    "a number times a text": "{{ 10000000 * 'a' }}",
    "a list times a number": "{{ ([1] * 2000000) | length }}",
    "a power": "{{ 10 ** (10 ** 9) }}",
    "powers of powers": "{% set ns = namespace(n=9) %}{% for a in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "a sum of texts": "{% set ns = namespace(s='a') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "a width": "{{ 'a' | center(10**9) }}",
    "a width that is known beforehand": "{{ 'a' | center(width=1000000000) }}",
    "a method's width": "{{ 'a'.rjust(1000000000) }}",
    "a filler": "{{ [1] | batch(10**9, 'x') | list | length }}",
    "many slices": "{{ [1] | slice(10**9) | list | length }}",
    "an indent": "{{ 'a' | indent(10**9, true) }}",
    "much output": "{% set x = 'a' * 100000 %}{% for a in range(99) %}{{ x }}{% endfor %}",
    "much output in a block": "{% set x %}{% for a in range(9000) %}{{ 'a' * 1000 }}{% endfor %}{% endset %}{{ x }}",
}


@pytest.mark.parametrize("attack", TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_too_much_is_stopped_while_it_runs(attack: str) -> None:
    with pytest.raises(TooMuchError):
        Sandbox().from_string(attack).render()


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in x %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {{ a * 3 }}{% else %}none{% endfor %}",
        "{% for a in [] %}{% else %}none{% endfor %}",
        "{% for a in [1, [2]] recursive %}{% if a is iterable %}{{ loop(a) }}{% else %}{{ a }}{% endif %}{% endfor %}",
        "{% for a in x if a != 'b' %}{{ loop.previtem }}{{ loop.cycle('odd', 'even') }}{% endfor %}",
        "{{ 2 ** 10 + 3 * 4 }}{{ 'ab' * 3 + 'c' }}{{ 1.5 * 2 }}{{ [1] + [2] }}{{ range(5) | sum }}",
        "{{ 'a <b> c' | wordwrap(3) }}{{ x | join(', ') }}{{ 'abcdef' | truncate(5) }}{{ 5000000 | filesizeformat }}",
        "{{ 'a'.center(5) }}{{ '{} of {}'.format(5000000, 2) }}{{ '%d' % 5000000 }}{{ ','.join(x) }}",
        "{% macro m(n) %}<{{ n }}>{% endmacro %}{{ m('<') }}{% set y %}a{% endset %}{{ y }}",
    ],
)
def test_everything_else_is_as_jinja_has_it(text: str) -> None:
    values = {"x": ["a", "b", "c"]}
    plain = ImmutableSandboxedEnvironment(autoescape=True).from_string(text).render(values)
    assert Sandbox(autoescape=True).from_string(text).render(values) == plain


def test_each_rendering_has_a_budget_of_its_own() -> None:
    template = Sandbox().from_string("{% for a in range(n) %}{% endfor %}")
    for _ in range(3):
        template.render(n=MAX_STEPS - 10)
    with pytest.raises(TooMuchError):
        Sandbox().from_string("{% for a in range(n) %}{% endfor %}{% for a in range(n) %}{% endfor %}").render(n=60_000)


def test_a_part_may_be_as_long_as_it_may_be() -> None:
    template = Sandbox().from_string("{{ x }}")
    assert len(template.render(x="a" * MAX_OUTPUT)) == MAX_OUTPUT
    with pytest.raises(TooMuchError, match="more than 1,048,576 characters"):
        template.render(x="a" * (MAX_OUTPUT + 1))


def test_a_macro_that_never_ends_is_an_error_like_any_other() -> None:
    with pytest.raises(RecursionError):
        Sandbox().from_string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").render()


def test_a_loop_over_nothing_known_still_says_what_is_missing() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'nope' is undefined"):
        Sandbox(undefined=jinja2.StrictUndefined).from_string("{% for a in nope %}{% endfor %}").render()
