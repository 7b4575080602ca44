"""The preview: all mails with sample readers in a browser, as they look, as text, as source, and judged.

``gallery`` has the specimens printed whenever a template was saved, ``shown`` says what a page shows of one, and
``server`` serves them. It neither reads nor writes a database, and mails nothing.
"""

from newsletter.preview.gallery import Gallery
from newsletter.preview.server import create_preview

__all__ = ["Gallery", "create_preview"]
