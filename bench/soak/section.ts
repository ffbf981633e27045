const [begin, end] = ['<!-- soak -->', '<!-- /soak -->']
const section = new RegExp(`\\n${begin}[^]*${end}\\n`)

/** The part of docs/benchmarks.md that `npm run soak` writes; empty where it has not been run. */
export const soakSectionOf = (page: string): string => section.exec(page)?.[0] ?? ''

/** The page with this as its part about the soak. */
export function withSoakSection(page: string, text: string): string {
  const part = `\n${begin}\n${text}\n${end}\n`
  return section.test(page) ? page.replace(section, () => part) : `${page.trimEnd()}\n${part}`
}
