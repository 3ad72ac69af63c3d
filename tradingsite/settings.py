"""Settings, read once from the environment; a bad value stops the start with one clear line."""

import os
import secrets
import sys
from pathlib import Path

import environ
from django.templatetags.static import static

from core.database import database_url
from core.database.locations import local_dir

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
LOCAL_DIR = local_dir()


def _secret(name: str) -> str:
    """A secret kept in the local folder, made on first use and readable by its owner only."""
    path = LOCAL_DIR / name
    if not path.exists():
        LOCAL_DIR.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


DEBUG = env.bool("DESK_DEBUG", False)
SECRET_KEY = env.str("DESK_SECRET_KEY", "") or _secret("secret_key")
ALLOWED_HOSTS = env.list("DESK_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("DESK_TRUSTED_ORIGINS", default=[])
WEB_HOST = env.str("DESK_WEB_HOST", "127.0.0.1")
WEB_PORT = env.int("DESK_WEB_PORT", 8000)
MODELS_DIR = Path(env.str("DESK_MODELS_DIR", str(LOCAL_DIR / "models")))

# Live trading needs this switch and an operator's confirmation; the bridge it would use comes later.
LIVE_TRADING_ALLOWED = env.bool("DESK_ALLOW_LIVE", False)

# Trainings carried out side by side; 0 means one for every two cores.
TRAININGS_AT_ONCE = env.int("DESK_TRAININGS_AT_ONCE", 0)

# Where market data comes from. Empty addresses mean each source's usual one; without a bridge there is none.
YAHOO_ADDRESS = env.str("DESK_YAHOO_ADDRESS", "") or None
BRIDGE_ADDRESS = env.str("DESK_BRIDGE_ADDRESS", "")
BRIDGE_TOKEN = env.str("DESK_BRIDGE_TOKEN", "")
# Key of the language model that reads the tone of news, if operators choose one.
SENTIMENT_KEY = env.str("DESK_SENTIMENT_KEY", "")

INSTALLED_APPS = [
    "core",
    "marketdata",
    "risk",
    "agents",
    "alerts",
    "tradingsite",
    "unfold",
    "django.contrib.admin.apps.SimpleAdminConfig",  # urls.py looks for the admin pages, jobs need none
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_q",
    "channels",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "tradingsite.security.ContentSecurityPolicyMiddleware",
]

ROOT_URLCONF = "tradingsite.urls"
ASGI_APPLICATION = "tradingsite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tradingsite.context.shell",
            ],
            "builtins": ["tradingsite.templatetags.desk"],
        },
    },
]


def _database(url: str | None) -> dict:
    """Django's settings of the database at `url`; without one, an address at which nothing ever answers."""
    try:
        found = environ.Env.db_url_config(url or "postgres://desk@127.0.0.1:1/desk")
    except (ValueError, KeyError, environ.ImproperlyConfigured) as error:
        sys.exit(f"DATABASE_URL cannot be read ({error}): expected postgres://user:password@host:port/name")
    if found.get("ENGINE") != "django.db.backends.postgresql":
        sys.exit("DATABASE_URL must begin with postgres://: TimescaleDB is required, other databases do not work")
    return found


_url = database_url()
DATABASE_KNOWN = _url is not None
DATABASES = {"default": _database(_url)}
DATABASES["default"]["CONN_MAX_AGE"] = 0  # under ASGI a kept connection outlives its thread
DATABASES["default"].setdefault("OPTIONS", {})["connect_timeout"] = 5
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# Tasks are short; long work runs in processes of its own. `retry` must exceed `timeout`, or a slow task runs twice.
Q_CLUSTER = {
    "name": "desk",
    "orm": "default",
    "workers": env.int("DESK_TASK_WORKERS", 2),
    "timeout": 120,
    "retry": 180,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "poll": 0.5,
    "save_limit": 500,
    "label": "Tasks",
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("DESK_HTTPS", False)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en-us"
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = LOCAL_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 60

UNFOLD = {
    "SITE_TITLE": "RL Trading Desk",
    "SITE_HEADER": "RL Trading Desk",
    "SITE_URL": "/",
    "SITE_SYMBOL": "candlestick_chart",
    "THEME": "dark",
    "SHOW_HISTORY": True,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("desk/favicon.svg")},
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "core.logs.LineFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("DESK_LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django.channels": {"level": "WARNING"},
        "uvicorn": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        "django-q": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}
