"""Ticks and chart levels as hypertables, with chunks for 100 million ticks and for decades of minute bars."""

from django.db import migrations

from core.hypertables import CreateHypertable


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0003_data_room")]

    operations = [
        CreateHypertable("tick", "1 day"),
        CreateHypertable("chartbar", "1 year"),
        # Nobody asks for bars of a time without saying of which instrument, and an index on time alone tempts the
        # planner to walk through every bar there is when it looks for the newest of a series that has none.
        migrations.RunSQL(
            "DROP INDEX IF EXISTS marketdata_bar_time_idx",
            "CREATE INDEX IF NOT EXISTS marketdata_bar_time_idx ON marketdata_bar (time DESC)",
        ),
    ]
