"""Bars as a hypertable."""

from django.db import migrations

from core.hypertables import CreateHypertable


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0001_initial"), ("core", "0002_hypertables")]

    operations = [CreateHypertable("bar", "1 year")]
