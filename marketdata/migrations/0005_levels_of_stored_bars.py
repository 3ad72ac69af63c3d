"""Chart levels for bars that were stored before there were levels."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def make_levels(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    from marketdata import levels

    bars = apps.get_model("marketdata", "Bar").objects
    for instrument, interval in bars.values_list("instrument_id", "interval_seconds").distinct():
        levels.rebuild(instrument, interval)


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0004_data_room_hypertables")]

    operations = [migrations.RunPython(make_levels, migrations.RunPython.noop)]
