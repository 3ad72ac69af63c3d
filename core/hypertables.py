"""Migration operation that turns a model's table into a TimescaleDB hypertable, and back."""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import CompositePrimaryKey, Model


class CreateHypertable(Operation):
    """Partition a table by its `time` column; the primary key becomes (id, time), as hypertables require.

    A model with a composite primary key, which must hold `time`, keeps it, and gets no index besides.

    chunk: length of one partition, a PostgreSQL interval such as "1 year"; aim at chunks whose indexes fit in memory.
    Backwards the rows are copied into an ordinary table with the same constraints and indexes.
    """

    reversible = True
    category = OperationCategory.ALTERATION

    def __init__(self, model_name: str, chunk: str) -> None:
        self.model_name, self.chunk = model_name, chunk

    def describe(self) -> str:
        """One line for `migrate`."""
        return f"Make {self.model_name} a hypertable, one chunk per {self.chunk}"

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """For Django's writer."""
        return (type(self).__name__, [self.model_name, self.chunk], {})

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Django's picture of the model stays the same."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Widen the primary key, then create the hypertable with the rows that are there."""
        model = to_state.apps.get_model(app_label, self.model_name)
        table = model._meta.db_table
        name = schema_editor.quote_name(table)
        if _has_natural_key(model):
            schema_editor.execute(
                "SELECT create_hypertable(%s::regclass, by_range('time', %s::interval), migrate_data => true,"
                " create_default_indexes => false)",
                [table, self.chunk],
            )
            return
        schema_editor.execute(f"ALTER TABLE {name} DROP CONSTRAINT {schema_editor.quote_name(table + '_pkey')}")
        schema_editor.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id, time)")
        schema_editor.execute(
            "SELECT create_hypertable(%s::regclass, by_range('time', %s::interval), migrate_data => true)",
            [table, self.chunk],
        )

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Copy into an ordinary table, keep names of constraints and indexes, and put the narrow key back."""
        model = from_state.apps.get_model(app_label, self.model_name)
        table = model._meta.db_table
        name, copy = schema_editor.quote_name(table), schema_editor.quote_name(table + "_plain")
        rebuild = _definitions(schema_editor, table)
        schema_editor.execute(f"CREATE TABLE {copy} (LIKE {name} INCLUDING DEFAULTS INCLUDING IDENTITY)")
        schema_editor.execute(f"INSERT INTO {copy} OVERRIDING SYSTEM VALUE SELECT * FROM {name}")  # noqa: S608 - quoted names
        schema_editor.execute(f"DROP TABLE {name}")
        schema_editor.execute(f"ALTER TABLE {copy} RENAME TO {name}")
        if _has_natural_key(model):
            columns = ", ".join(schema_editor.quote_name(field.column) for field in model._meta.pk_fields)
            schema_editor.execute(f"ALTER TABLE {name} ADD PRIMARY KEY ({columns})")
        else:
            self._restore_ids(schema_editor, table, name)
        for statement in rebuild:
            schema_editor.execute(statement)

    @staticmethod
    def _restore_ids(schema_editor: BaseDatabaseSchemaEditor, table: str, name: str) -> None:
        next_id = f"(SELECT coalesce(max(id), 0) + 1 FROM {name})"  # noqa: S608 - a quoted name
        schema_editor.execute(f"SELECT setval(pg_get_serial_sequence(%s, 'id'), {next_id}, false)", [table])
        schema_editor.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")


def _has_natural_key(model: type[Model]) -> bool:
    return isinstance(model._meta.pk, CompositePrimaryKey)


def _definitions(schema_editor: BaseDatabaseSchemaEditor, table: str) -> list[str]:
    """Statements that create the constraints and indexes of a table again, without the key and TimescaleDB's own."""
    name = schema_editor.quote_name(table)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype IN ('c', 'f', 'u') ORDER BY conname",
            [table],
        )
        constraints = cursor.fetchall()
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass)"
            " AND indexname <> %s ORDER BY indexname",
            [table, table, f"{table}_time_idx"],
        )
        indexes = cursor.fetchall()
    added = [f"ALTER TABLE {name} ADD CONSTRAINT {schema_editor.quote_name(c)} {text}" for c, text in constraints]
    return added + [definition for _, definition in indexes]
