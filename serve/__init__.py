"""Server of the pages in which people look at slides, and of the API behind them."""

from .app import make_app
from .assets import Assets
from .guard import Access
from .jobs.child import Command
from .jobs.desk import JobDesk
from .jobs.job import JobFacts, JobTask, ServedModel
from .jobs.job_queue import JobQueue
from .jobs.uploads import Uploads
from .link_files import link_page, server_file
from .qupath_script import QUPATH_SCRIPT, make_qupath_script
from .server import Listener, describe_link, end_on_sigterm, open_browser, run_server
from .settings import ServerSettings
from .workspace import Workspace

__all__ = [
    "QUPATH_SCRIPT",
    "Access",
    "Assets",
    "Command",
    "JobDesk",
    "JobFacts",
    "JobQueue",
    "JobTask",
    "Listener",
    "ServedModel",
    "ServerSettings",
    "Uploads",
    "Workspace",
    "describe_link",
    "end_on_sigterm",
    "link_page",
    "make_app",
    "make_qupath_script",
    "open_browser",
    "run_server",
    "server_file",
]
