export interface BannerFacts {
  address: string
  /** Null where the documentation pages are off. */
  docs: string | null
  adminKey: string
  database: string
  model: string
  platform: string
}

/** What a person needs to go on, in a few lines. */
export function renderBanner(facts: BannerFacts): string {
  const lines: [string, string | null][] = [
    ['API', facts.address],
    ['Docs', facts.docs],
    ['Admin key', facts.adminKey],
    ['Database', facts.database],
    ['Model', facts.model],
  ]
  const shown = lines.filter((line): line is [string, string] => line[1] !== null)
  return [
    `Automatos Orchestrator on ${facts.platform}`,
    ...shown.map(([name, value]) => `  ${name.padEnd(10)} ${value}`),
  ].join('\n')
}
