"""What a model is asked in production, captured as versions: rows, or the bodies of requests.

    from dataver.serving import Capture

    capture = Capture("served", repo="az://data/ml", model="model:churn@v2")
    app = capture.wsgi(app)          # or capture.asgi(app), or capture.rows([{"age": 41}])

A service is never kept waiting and never fails for it. Rows go through a bounded queue to a thread, from
there to files on this machine, and when their window of time is over a process of its own commits them.
"""

from __future__ import annotations

from dataver.serving.capture import Capture, Counts

__all__ = ["Capture", "Counts"]
