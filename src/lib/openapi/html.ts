export const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

/** The little Markdown that our own descriptions use: headings, lists, fenced and inline code. All text is escaped first. */
export function writeMarkdown(source: string): string {
  if (source === '') return ''
  return source
    .split(/^```.*$/m)
    .map((part, i) => (i % 2 === 1 ? `<pre>${escapeHtml(part.trim())}</pre>` : writeBlocks(part)))
    .join('')
}

const writeBlocks = (text: string) =>
  text
    .split(/\n\s*\n/)
    .map((block) => block.trim())
    .filter(Boolean)
    .map(writeBlock)
    .join('')

function writeBlock(block: string): string {
  if (block.startsWith('## ')) return `<h2>${writeInline(block.slice(3))}</h2>`
  if (block.startsWith('- ')) {
    const items = block.split(/^- /m).filter(Boolean)
    return `<ul>${items.map((item) => `<li>${writeInline(item.trim())}</li>`).join('')}</ul>`
  }
  return `<p>${writeInline(block)}</p>`
}

const writeInline = (text: string) => escapeHtml(text).replace(/`([^`]+)`/g, '<code>$1</code>')
