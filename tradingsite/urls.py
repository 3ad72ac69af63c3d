"""Where every page lives."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from tradingsite.appearance import appearance

# Here and not at start-up: it imports the learning libraries' callers, which a stream's or the cluster's process
# never needs.
admin.autodiscover()

urlpatterns = [
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("appearance/", appearance, name="appearance"),
    path("admin/", admin.site.urls),
    path("stop/", include("risk.urls")),
    path("data/", include("marketdata.urls")),
    path("", include("agents.urls")),
]
