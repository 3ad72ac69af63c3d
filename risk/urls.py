"""The kill switch's addresses, under /stop/."""

from django.urls import path

from risk import views

urlpatterns = [
    path("", views.stop_page, name="stop"),
    path("engage/", views.engage, name="engage"),
    path("rearm/", views.rearm, name="rearm"),
]
