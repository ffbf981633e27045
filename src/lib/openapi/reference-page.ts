import { exampleOf } from './examples.ts'
import type { OpenApiDocument } from './document.ts'
import { escapeHtml, writeMarkdown } from './html.ts'
import { asSchemas, rowsOf, typeOf, type SchemaNode, type Schemas } from './schema-rows.ts'

interface Parameter {
  name: string
  in: string
  required?: boolean
  description?: string
  schema?: SchemaNode
}
/** A parameter that many operations share stands in the components. */
interface Reference {
  $ref: string
}
interface Content {
  [mediaType: string]: { schema?: SchemaNode; example?: unknown }
}
interface OperationNode {
  operationId: string
  summary: string
  description?: string
  tags: string[]
  security?: object[]
  parameters?: (Parameter | Reference)[]
  requestBody?: { required?: boolean; content: Content }
  responses: Record<string, { description: string; content?: Content }>
}
interface Entry {
  method: string
  path: string
  operation: OperationNode
  parameters: Parameter[]
}

/** The whole document as one page that needs no script: readable, searchable, printable. */
export function writeReference(document: OpenApiDocument): string {
  const schemas = asSchemas(document)
  const entries = entriesOf(document)
  const title = escapeHtml(`${document.info.title} ${document.info.version}`)
  const sections = (document.tags ?? []).map(({ name, description }) => {
    const own = entries.filter(({ operation }) => operation.tags.includes(name))
    return {
      nav: `<strong>${escapeHtml(name)}</strong><ul>${own.map(writeLink).join('')}</ul>`,
      body: `<section><h2>${escapeHtml(name)}</h2>${writeMarkdown(description ?? '')}${own
        .map((entry) => writeEntry(entry, schemas))
        .join('')}</section>`,
    }
  })
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/redoc/reference.css">
</head>
<body>
<nav aria-label="Operations">${sections.map((section) => section.nav).join('')}</nav>
<main>
<h1>${title}</h1>
${writeMarkdown(document.info.description ?? '')}
${sections.map((section) => section.body).join('\n')}
</main>
</body>
</html>
`
}

function entriesOf(document: OpenApiDocument): Entry[] {
  return Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    Object.entries(item as Record<string, OperationNode>).map(([method, operation]) => {
      const parameters = (operation.parameters ?? []).map((parameter) => resolve(parameter, document))
      return { method, path, operation, parameters }
    }),
  )
}

function resolve(parameter: Parameter | Reference, { components }: OpenApiDocument): Parameter {
  if (!('$ref' in parameter)) return parameter
  const shared = components?.parameters as Record<string, Parameter> | undefined
  return shared![parameter.$ref.slice('#/components/parameters/'.length)]!
}

const writeLink = ({ operation }: Entry) =>
  `<li><a href="#${escapeHtml(operation.operationId)}">${escapeHtml(operation.summary)}</a></li>`

function writeEntry({ method, path, operation, parameters }: Entry, schemas: Schemas): string {
  const isPublic = operation.security?.length === 0
  return `<article id="${escapeHtml(operation.operationId)}">
<h3>${escapeHtml(operation.summary)}</h3>
<p><code><span class="method">${escapeHtml(method)}</span> ${escapeHtml(path)}</code> <span class="soft">${escapeHtml(operation.operationId)}${isPublic ? ', public' : ''}</span></p>
${writeMarkdown(operation.description ?? '')}
${writeParameters(parameters)}
${operation.requestBody ? `<h4>Body</h4>${writeContent(operation.requestBody.content, schemas)}` : ''}
<h4>Answers</h4>
${Object.entries(operation.responses)
  .map(([status, response]) => writeResponse(status, response, schemas))
  .join('')}
</article>`
}

function writeParameters(parameters: Parameter[]): string {
  if (parameters.length === 0) return ''
  const rows = parameters.map((parameter) => [
    `<code>${escapeHtml(parameter.name)}</code>`,
    escapeHtml(`${parameter.in}${parameter.required ? ', required' : ''}`),
    escapeHtml(typeOf(parameter.schema ?? {})),
    writeMarkdown(parameter.description ?? parameter.schema?.description ?? ''),
  ])
  return `<h4>Parameters</h4>${writeTable(rows)}`
}

function writeResponse(status: string, response: { description: string; content?: Content }, schemas: Schemas): string {
  const head = `<p><strong>${escapeHtml(status)}</strong> ${escapeHtml(response.description)}</p>`
  // All errors have one shape, told once at the head; their tables would bury the rest.
  return Number(status) >= 400 || !response.content ? head : head + writeContent(response.content, schemas)
}

function writeContent(content: Content, schemas: Schemas): string {
  return Object.entries(content)
    .map(([mediaType, { schema, example }]) => {
      const rows = rowsOf(schema ?? {}, schemas).map((row) => [
        `<code>${escapeHtml(row.name)}</code>`,
        escapeHtml(row.type + (row.required ? ', required' : '')),
        writeMarkdown(row.description),
      ])
      const shown = example ?? exampleOf(schema ?? {}, schemas)
      const sample = typeof shown === 'string' ? shown : JSON.stringify(shown, null, 2)
      return `<p class="soft">${escapeHtml(mediaType)}</p>${rows.length > 0 ? writeTable(rows) : ''}${
        shown === undefined ? '' : `<pre>${escapeHtml(sample)}</pre>`
      }`
    })
    .join('')
}

const writeTable = (rows: string[][]) =>
  `<table>${rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join('')}</tr>`).join('')}</table>`
