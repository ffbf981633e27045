import { parseConfig } from '../../src/config.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { createTestApp, testConfig, type TestApp } from './app.ts'
import { startProviderServer, type ProviderServer } from './provider-server.ts'

/**
 * An app with a model `openai/dear` whose calls cost 0.105 dollars each: 1000 tokens in and 50 out, at a hundred dollars a
 * million. The provider is for the file to close.
 */
export async function createDearApp(): Promise<{ app: TestApp; provider: ProviderServer }> {
  const provider = await startProviderServer()
  const { openaiApiKey, openaiBaseUrl } = parseConfig({ ENVIRONMENT: 'test', ...provider.env })
  const app = await createTestApp({
    config: { ...testConfig(), openaiApiKey, openaiBaseUrl, llmProvider: 'offline', llmModel: 'offline' },
  })
  await app.db
    .insertInto('models')
    .values({
      id: uuidv7(),
      provider: 'openai',
      model: 'dear',
      name: 'Dear',
      input_usd: '100',
      cached_input_usd: '100',
      output_usd: '100',
    } as never)
    .execute()
  return { app, provider }
}
