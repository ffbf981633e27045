// Stands in a Worker for Kysely's builder of schemas: its database object keeps it in every bundle, and only migrations, which
// no Worker makes, would change one.
export class SchemaModule {}
