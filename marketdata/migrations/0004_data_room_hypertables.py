"""Ticks and chart levels as hypertables, with chunks for 100 million ticks and for decades of minute bars."""

from django.db import migrations

from core.hypertables import CreateHypertable


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0003_data_room")]

    operations = [CreateHypertable("tick", "1 day"), CreateHypertable("chartbar", "1 year")]
