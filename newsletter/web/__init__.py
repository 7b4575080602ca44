"""The web: sign-up, confirmation, leaving, opens and clicks.

GET and HEAD never change what anybody gets; link scanners follow every link. Opens and clicks are
counted on GET, and that is all.
"""

from newsletter.web.server import create_web

__all__ = ["create_web"]
