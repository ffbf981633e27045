import type { WalkedOperation } from './operations.ts'

/** Who calls, as the page heads its columns. */
export const columns = {
  nobody: 'nobody',
  dead: 'dead credential',
  widget: 'widget key',
  empty: 'no permission',
  viewer: 'viewer',
  editor: 'editor',
  admin: 'admin',
  owner: 'owner',
  foreign: 'another workspace',
  naming: 'naming this one',
} as const
export type Column = keyof typeof columns
export type Statuses = Record<Column, string>

const introduction = `# Who may call what

Written by \`test/security/isolation.test.ts\`, which sends every operation of the API as everybody below and fails where an
answer is not the one on this page. After a change that is meant:
\`npx vitest run --project node test/security/isolation.test.ts -u\`; the difference then shows in review.

The rows that are asked for are there, and each operation that succeeds has a workspace of its own to work in. A number is the
status of the answer; two numbers are two answers that differ among those whom the column names.

| column | who calls |
|---|---|
| nobody | a request without a credential |
| dead credential | an API key that has expired, one that is revoked, and a user's token that no trusted issuer has signed |
| widget key | an \`ak_pub_\` key of the workspace |
| no permission | a key with an empty list of scopes, and a member whose role grants nothing |
| viewer, editor, admin, owner | a member of the workspace in this role |
| another workspace | a key of another workspace and a user who is no member, with the ids of this one. \`own\`: the operation names no row, and answers from the caller's own workspace, where nothing of this one is found |
| naming this one | the same two with \`X-Workspace-ID\`: this workspace, and one that does not exist, which are answered alike |

An id of another workspace is answered as one that does not exist, in status, headers and body.
`

/** The page as a whole; a table for each tag of the document. */
export function pageOf(
  rows: ReadonlyMap<string, Statuses>,
  operations: readonly WalkedOperation[],
  operator: ReadonlyMap<string, Partial<Statuses>>,
): string {
  const tags = [...new Set(operations.map(({ tag }) => tag))]
  const tables = tags.map((tag) => {
    const lines = operations
      .filter((operation) => operation.tag === tag)
      .map((operation) => lineOf(operation, Object.values(rows.get(operation.id)!)))
    return `## ${tag}\n\n${headOf(Object.values(columns))}\n${lines.join('\n')}\n`
  })
  const [first] = operator.values()
  const ofOperator = operations
    .filter(({ id }) => operator.has(id))
    .map((operation) => lineOf(operation, Object.values(operator.get(operation.id)!)))
  const last = first
    ? `## In the operator's workspace

The first workspace is the operator's of the installation. Its members hold the permissions \`system:…\` that their role names;
members of other workspaces do not, whatever their role.

${headOf(Object.keys(first))}
${ofOperator.join('\n')}
`
    : ''
  return [introduction, ...tables, ...(last ? [last] : [])].join('\n')
}

const headOf = (names: string[]) =>
  `| operation | needs | ${names.join(' | ')} |\n|---|---|${names.map(() => '---').join('|')}|`

const lineOf = ({ method, path, access }: WalkedOperation, cells: (string | undefined)[]) =>
  `| ${method} \`${path}\` | ${access === 'public' ? 'nothing' : access === 'authenticated' ? 'any credential' : `\`${access}\``} | ${cells.join(' | ')} |`

/** What several answers have in common, or all that they are. */
export const cell = (statuses: (number | string)[]): string => [...new Set(statuses)].join(' / ')
