import { secretRefPattern } from './secrets.ts'
import { LanguageError } from './scope.ts'

/** Liquid has no function calls, so `{{ secret('slug.field') }}` is rewritten to the tag `{% secret 'slug.field' %}`. */
export function rewriteSecrets(source: string): string {
  if (!source.includes('secret')) return source
  const opening = /\{[{%]/g
  const output =
    /\{\{(-?)\s*(?:secret\s*\(\s*(?:'([^']*)'|"([^"]*)")\s*\)|(?:'([^']*)'|"([^"]*)")\s*\|\s*secret)\s*(-?)\}\}/y
  const verbatim = /\{%-?\s*(raw|comment)\s*-?%\}/y
  let text = ''
  let at = 0
  for (let found = opening.exec(source); found; found = opening.exec(source)) {
    verbatim.lastIndex = output.lastIndex = found.index
    const block = verbatim.exec(source)
    if (block) {
      const end = new RegExp(`\\{%-?\\s*end${block[1]}\\s*-?%\\}`, 'g')
      end.lastIndex = verbatim.lastIndex
      if (!end.test(source)) break
      opening.lastIndex = end.lastIndex
      continue
    }
    const secret = output.exec(source)
    if (!secret) {
      opening.lastIndex = found.index + 2
      continue
    }
    const [whole, left, call1, call2, piped1, piped2, right] = secret
    const ref = call1 ?? call2 ?? piped1 ?? piped2 ?? ''
    assertSecretRef(ref)
    text += `${source.slice(at, found.index)}{%${left} secret '${ref}' ${right}%}`
    at = opening.lastIndex = found.index + whole.length
  }
  return text + source.slice(at)
}

export function assertSecretRef(ref: string): void {
  if (!secretRefPattern.test(ref)) {
    throw new LanguageError(`secret('${ref.slice(0, 80)}') names no secret: write secret('slug.field').`)
  }
}
