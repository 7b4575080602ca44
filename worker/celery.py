"""The Celery application. The broker only wakes workers: losing it loses nothing but a minute."""

from typing import Any

from celery import Celery

from newsletter.settings import load


def _configuration() -> dict[str, Any]:
    """Return the configuration; asked for when it is first needed, not at import."""
    broker = load().broker_url
    return {
        "broker_url": broker.get_secret_value() if broker else None,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            # Longer than any task: a batch ends within a minute, or within the ten that a final dot may take.
            "visibility_timeout": 900,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "health_check_interval": 25,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
        },
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "task_ignore_result": True,
        "task_default_queue": "newsletter",
        "worker_soft_shutdown_timeout": 30,
        "worker_hijack_root_logger": False,
        "timezone": "UTC",
    }


celery = Celery("newsletter", include=["worker.tasks"])
celery.add_defaults(_configuration)
